import { createHash, timingSafeEqual } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { Problem } from '@virt8ra/contract';
import { Check } from 'typebox/value';
import { errorCode } from '../files/atomic-file.js';
import { BackupManifest } from './manifest.js';
import { manifestCode, newSealingParameters, type SealingKeys, type SealingParameters, sealed, sealingKeys, unsealed } from './sealing.js';

/**
 * One file: a line that says what it is and how it is sealed; the parts, one behind the other, sealed as one stream or plain; the manifest with
 * its code (HMAC by a key of the passphrase, else SHA-256), its length, and a mark. Whoever reads begins at the mark: without it, it is not whole.
 */
const magic = 'virt8ra-control-plane-backup 1 ';
const mark = Buffer.from('V8RAPBK1');
const codeBytes = 32;
const tailBytes = codeBytes + 8 + mark.length;
const mostHeaderBytes = 4096;
const mostManifestBytes = 256 * 1024 * 1024;

export interface PartSource {
  readonly name: string;
  content(): AsyncIterable<Uint8Array>;
}

/** Writes a whole file into `file`, which is empty. `describe` is asked for the manifest when all parts are written. */
export async function writeBackupFile(
  file: FileHandle,
  passphrase: string | undefined,
  parts: readonly PartSource[],
  describe: (written: BackupManifest['parts']) => Promise<BackupManifest>,
): Promise<{ readonly bytes: number; readonly manifest: BackupManifest }> {
  const keys = passphrase === undefined ? undefined : sealingKeys(newSealingParameters(), passphrase);
  let bytes = 0;
  const write = async (octets: Uint8Array): Promise<void> => {
    for (let at = 0; at < octets.length; ) {
      const { bytesWritten } = await file.write(octets, at, octets.length - at);
      at += bytesWritten;
    }
    bytes += octets.length;
  };
  await write(Buffer.from(`${magic}${JSON.stringify({ sealing: keys?.parameters ?? null })}\n`));
  const written: BackupManifest['parts'] = [];
  const body = join(parts, written);
  for await (const octets of keys === undefined ? body : sealed(body, keys)) await write(octets);
  const manifest = await describe(written);
  const text = Buffer.from(JSON.stringify(manifest));
  await write(text);
  await write(codeOf(keys, text));
  const length = Buffer.alloc(8);
  length.writeBigUInt64BE(BigInt(text.length));
  await write(length);
  await write(mark);
  await file.sync();
  return { bytes, manifest };
}

async function* join(parts: readonly PartSource[], written: BackupManifest['parts']): AsyncGenerator<Uint8Array> {
  for (const { name, content } of parts) {
    const hash = createHash('sha256');
    let bytes = 0;
    for await (const octets of content()) {
      hash.update(octets);
      bytes += octets.length;
      yield octets;
    }
    written.push({ name, bytes, sha256: hash.digest('hex') });
  }
}

export interface BackupFile {
  readonly path: string;
  readonly manifest: BackupManifest;
  /** Undefined: it is not encrypted. */
  readonly keys: SealingKeys | undefined;
  /** Gives each part, in order, and raises `validation` when one is not what was written. A content that is not read is checked all the same. */
  each(visit: (name: string, content: AsyncIterable<Buffer>) => Promise<void>): Promise<void>;
}

/** What a file says of itself, without its passphrase: who can change it could change that as well. Raises `validation`, or `not-found`. */
export async function readManifest(path: string): Promise<BackupManifest> {
  return (await look(path)).manifest;
}

/** Opens a file to read its parts. Raises `validation` when it is not whole, is no backup, or the passphrase is missing or another. */
export async function openBackupFile(path: string, passphrase: string | undefined): Promise<BackupFile> {
  const { sealing, manifest, text, code, begin, end } = await look(path);
  if (sealing !== null && passphrase === undefined)
    throw new Problem('validation', `${path} is encrypted: name the file with its passphrase (--passphrase-file)`);
  const keys = sealing === null || passphrase === undefined ? undefined : sealingKeys(sealing, passphrase);
  if (!timingSafeEqual(codeOf(keys, text), code))
    throw new Problem(
      'validation',
      keys === undefined
        ? `${path} is damaged: its manifest is not what was written`
        : `${path} was sealed by another passphrase, or is damaged`,
    );
  return {
    path,
    manifest,
    keys,
    async each(visit) {
      const file =
        begin >= end
          ? nothing()
          : (createReadStream(path, { start: begin, end: end - 1, highWaterMark: 1024 * 1024 }) as AsyncIterable<Buffer>);
      const body = (keys === undefined ? file : unsealed(file, keys))[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
      let rest: Buffer = Buffer.alloc(0);
      try {
        for (const part of manifest.parts) {
          const hash = createHash('sha256');
          let left = part.bytes;
          const content = async function* (): AsyncGenerator<Buffer> {
            while (left > 0) {
              if (rest.length === 0) {
                const next = await body.next();
                if (next.done === true) throw new Problem('validation', `${path} is damaged: it ends within ${part.name}`);
                rest = next.value;
              }
              const octets = rest.subarray(0, left);
              rest = rest.subarray(octets.length);
              left -= octets.length;
              hash.update(octets);
              yield octets;
            }
          };
          await visit(part.name, content());
          for await (const _ of content());
          if (hash.digest('hex') !== part.sha256)
            throw new Problem('validation', `${path} is damaged: ${part.name} is not what was written`);
        }
      } finally {
        await body.return?.();
      }
    },
  };
}

async function* nothing(): AsyncGenerator<Buffer> {}

function codeOf(keys: SealingKeys | undefined, text: Buffer): Buffer {
  return keys === undefined ? createHash('sha256').update(text).digest() : manifestCode(keys, text);
}

interface Look {
  readonly sealing: SealingParameters | null;
  readonly manifest: BackupManifest;
  readonly text: Buffer;
  readonly code: Buffer;
  /** Where the parts lie. */
  readonly begin: number;
  readonly end: number;
}

async function look(path: string): Promise<Look> {
  const file = await open(path, 'r').catch((cause: unknown) => {
    const why = errorCode(cause) === 'ENOENT' ? 'is not there' : `cannot be read: ${(cause as Error).message}`;
    throw new Problem('not-found', `the backup ${path} ${why}`, { cause });
  });
  try {
    const { size } = await file.stat();
    const at = async (position: number, length: number): Promise<Buffer> => {
      const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, position);
      return buffer.subarray(0, bytesRead);
    };
    const head = await at(0, Math.min(size, mostHeaderBytes));
    const line = head.indexOf(10);
    if (!head.subarray(0, magic.length).equals(Buffer.from(magic)) || line < 0)
      throw new Problem('validation', `${path} is no control plane backup, or one of another format`);
    const tail = await at(Math.max(0, size - tailBytes), tailBytes);
    const length = tail.length < tailBytes ? 0 : Number(tail.readBigUInt64BE(codeBytes));
    const end = size - tailBytes - length;
    if (!tail.subarray(codeBytes + 8).equals(mark) || length <= 0 || length > mostManifestBytes || end < line + 1)
      throw new Problem('validation', `${path} is not whole: its end is missing or damaged`);
    const text = await at(end, length);
    const { sealing } = parsed(head.subarray(magic.length, line), path) as { sealing: SealingParameters | null };
    const manifest = parsed(text, path);
    if (!Check(BackupManifest, manifest)) throw new Problem('validation', `${path} has a manifest that this version cannot read`);
    return { sealing, manifest, text, code: tail.subarray(0, codeBytes), begin: line + 1, end };
  } finally {
    await file.close();
  }
}

function parsed(octets: Buffer, path: string): unknown {
  try {
    return JSON.parse(octets.toString('utf8'));
  } catch (cause) {
    throw new Problem('validation', `${path} is damaged: what it says of itself cannot be read`, { cause });
  }
}
