import { createCipheriv, createDecipheriv, createHmac, hkdfSync, randomBytes, scryptSync } from 'node:crypto';
import { Problem } from '@virt8ra/contract';

/**
 * Encryption of a stream by a passphrase: scrypt makes the key, AES-256-GCM seals chunk after chunk. The nonce of a chunk is a random prefix, its
 * number and whether it is the last, so that chunks can be neither changed, moved, left out nor cut off unseen.
 */
export interface SealingParameters {
  readonly cipher: 'aes-256-gcm';
  readonly kdf: 'scrypt';
  /** Cost, block size and parallelism of scrypt. */
  readonly cost: number;
  readonly blockSize: number;
  readonly parallel: number;
  /** Base64. */
  readonly salt: string;
  /** Base64, 7 octets. */
  readonly nonce: string;
  readonly chunkBytes: number;
}

export interface SealingKeys {
  readonly parameters: SealingParameters;
  readonly content: Buffer;
  readonly manifest: Buffer;
}

const tagBytes = 16;
const mostMemory = 256 * 1024 * 1024;

export function newSealingParameters(): SealingParameters {
  return {
    cipher: 'aes-256-gcm',
    kdf: 'scrypt',
    cost: 32_768,
    blockSize: 8,
    parallel: 1,
    salt: randomBytes(32).toString('base64'),
    nonce: randomBytes(7).toString('base64'),
    chunkBytes: 1024 * 1024,
  };
}

/** Raises `validation` for parameters that no backup of ours has. */
export function sealingKeys(parameters: SealingParameters, passphrase: string): SealingKeys {
  const { cost, blockSize, parallel, chunkBytes } = parameters;
  if (parameters.cipher !== 'aes-256-gcm' || parameters.kdf !== 'scrypt' || chunkBytes < 1024 || chunkBytes > 64 * 1024 * 1024)
    throw new Problem('validation', 'it is encrypted in a way that this version does not know');
  const secret = scryptSync(passphrase, Buffer.from(parameters.salt, 'base64'), 32, {
    N: cost,
    r: blockSize,
    p: parallel,
    maxmem: mostMemory,
  });
  const derive = (what: string): Buffer => Buffer.from(hkdfSync('sha256', secret, '', `virt8ra control plane backup ${what}`, 32));
  return { parameters, content: derive('content'), manifest: derive('manifest') };
}

export function manifestCode(keys: SealingKeys, manifest: Uint8Array): Buffer {
  return createHmac('sha256', keys.manifest).update(manifest).digest();
}

function nonceOf({ nonce }: SealingParameters, counter: number, last: boolean): Buffer {
  const octets = Buffer.alloc(12);
  Buffer.from(nonce, 'base64').copy(octets, 0, 0, 7);
  octets.writeUInt32BE(counter, 7);
  octets[11] = last ? 1 : 0;
  return octets;
}

/** Plain octets in, sealed chunks out; the last one comes when the source ends, be it empty. */
export async function* sealed(source: AsyncIterable<Uint8Array>, keys: SealingKeys): AsyncGenerator<Buffer> {
  const { chunkBytes } = keys.parameters;
  let counter = 0;
  const seal = (chunk: Uint8Array, last: boolean): Buffer => {
    const cipher = createCipheriv('aes-256-gcm', keys.content, nonceOf(keys.parameters, counter, last));
    counter += 1;
    return Buffer.concat([cipher.update(chunk), cipher.final(), cipher.getAuthTag()]);
  };
  for await (const { chunk, last } of chunked(source, chunkBytes)) yield seal(chunk, last);
}

/** The reverse. Raises `validation` when a chunk is not what was sealed under this passphrase, or the end is missing. */
export async function* unsealed(source: AsyncIterable<Uint8Array>, keys: SealingKeys): AsyncGenerator<Buffer> {
  let counter = 0;
  for await (const { chunk, last } of chunked(source, keys.parameters.chunkBytes + tagBytes)) {
    const bytes = chunk.length - tagBytes;
    const decipher = createDecipheriv('aes-256-gcm', keys.content, nonceOf(keys.parameters, counter, last));
    try {
      if (bytes < 0) throw new Error('cut');
      decipher.setAuthTag(chunk.subarray(bytes));
      yield Buffer.concat([decipher.update(chunk.subarray(0, bytes)), decipher.final()]);
    } catch (cause) {
      throw new Problem('validation', 'its content cannot be opened: it was damaged, cut off, or sealed by another passphrase', { cause });
    }
    counter += 1;
  }
}

/** Chunks of one size; the last one may be shorter, and is told apart. */
async function* chunked(
  source: AsyncIterable<Uint8Array>,
  size: number,
): AsyncGenerator<{ readonly chunk: Uint8Array; readonly last: boolean }> {
  let held: Uint8Array[] = [];
  let bytes = 0;
  for await (const octets of source) {
    held.push(octets);
    bytes += octets.length;
    // A whole chunk is given on only when more is there: the last must be known as such.
    while (bytes > size) {
      const joined = Buffer.concat(held);
      yield { chunk: joined.subarray(0, size), last: false };
      held = [joined.subarray(size)];
      bytes -= size;
    }
  }
  yield { chunk: Buffer.concat(held), last: true };
}
