import { createHash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import { Problem } from '@virt8ra/contract';
import type { TarMember } from './tar-members.js';

const refuse = (reason: string): Problem => new Problem('validation', `the manifest is refused: ${reason}`);

const lengths: Readonly<Record<string, number>> = { sha1: 40, sha256: 64, sha512: 128 };

export interface ManifestLine {
  readonly algorithm: string;
  readonly name: string;
  readonly digest: string;
}

/** The lines of a manifest (`SHA256(web.ovf)= …`; DSP0243). Raises `validation`. */
export function readManifest(text: string): readonly ManifestLine[] {
  const lines = text.split(/\r?\n/).filter((line) => line.trim() !== '');
  if (lines.length > 1024) throw refuse(`it has ${lines.length} lines`);
  return lines.map((line) => {
    const [, given = '', name = '', digest = ''] = /^\s*(SHA-?(?:1|256|512))\s*\((.{1,255})\)\s*=\s*([0-9a-fA-F]+)\s*$/i.exec(line) ?? [];
    const algorithm = given.toLowerCase().replace('-', '');
    if (lengths[algorithm] !== digest.length) throw refuse(`${JSON.stringify(line.slice(0, 120))} names no digest of a file`);
    return { algorithm, name, digest: digest.toLowerCase() };
  });
}

/** Raises `validation` for the first file that is not what the manifest says. Every file of it must be there. */
export async function verifyManifest(
  file: FileHandle,
  lines: readonly ManifestLine[],
  members: readonly TarMember[],
  signal?: AbortSignal,
): Promise<void> {
  for (const { algorithm, name, digest } of lines) {
    const member = members.find((each) => each.name === name);
    if (member === undefined) throw refuse(`it names ${JSON.stringify(name)}, which is not in the archive`);
    const hash = createHash(algorithm);
    if (member.bytes > 0) {
      const { offset: start, bytes } = member;
      const stream = file.createReadStream({ autoClose: false, start, end: start + bytes - 1, highWaterMark: 1024 * 1024 });
      for await (const chunk of stream) {
        signal?.throwIfAborted();
        hash.update(chunk as Buffer);
      }
    }
    const found = hash.digest('hex');
    if (found !== digest) throw refuse(`${JSON.stringify(name)} is not what it says: its ${algorithm} is ${found}, not ${digest}`);
  }
}
