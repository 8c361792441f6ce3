import { createHash, createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject, sign, verify } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { Problem } from '@virt8ra/contract';
import { readText, writeFileAtomic } from '../files/atomic-file.js';
import type { AuditKey } from './audit-row.js';

/** A statement about the chain: it stood so (`head`), or begins behind here since what was before is too old (`cut`). */
export interface Checkpoint extends AuditKey {
  readonly role: 'head' | 'cut';
  readonly position: bigint;
  readonly hash: Buffer;
  /** ISO time. */
  readonly at: string;
  readonly key: string;
  readonly signature: Buffer;
}

/** Signs and checks statements about the chain of one region. The key never is in the database. */
export interface AuditSigner {
  readonly region: string;
  readonly key: string;
  signed(statement: Omit<Checkpoint, 'key' | 'signature'>): Checkpoint;
  /** Why the statement cannot be believed; undefined: it holds. */
  doubt(checkpoint: Checkpoint): string | undefined;
}

/** Opens `STATE/identity/audit.jwk` (Ed25519), or makes it. Callers hold the lock of the identity. Raises `internal` when it is damaged. */
export async function openAuditSigner({
  stateDirectory,
  region,
}: {
  readonly stateDirectory: string;
  readonly region: string;
}): Promise<AuditSigner> {
  const directory = join(stateDirectory, 'identity');
  const path = join(directory, 'audit.jwk');
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const text = await readText(path);
  if (text !== undefined) return createAuditSigner(region, keyFromText(text, path));
  const { privateKey } = generateKeyPairSync('ed25519');
  await writeFileAtomic(path, JSON.stringify(privateKey.export({ format: 'jwk' })));
  return createAuditSigner(region, privateKey);
}

/** For whoever only looks: undefined when there is no key yet. */
export async function readAuditSigner({
  stateDirectory,
  region,
}: {
  readonly stateDirectory: string;
  readonly region: string;
}): Promise<AuditSigner | undefined> {
  const path = join(stateDirectory, 'identity', 'audit.jwk');
  const text = await readText(path);
  return text === undefined ? undefined : createAuditSigner(region, keyFromText(text, path));
}

export function createAuditSigner(region: string, privateKey: KeyObject): AuditSigner {
  const publicKey = createPublicKey(privateKey);
  const key = createHash('sha256')
    .update(publicKey.export({ format: 'der', type: 'spki' }))
    .digest('hex')
    .slice(0, 32);
  return {
    region,
    key,
    signed: (statement) => ({ ...statement, key, signature: sign(null, textOf(region, statement), privateKey) }),
    doubt(checkpoint) {
      if (checkpoint.key !== key) return `it is signed by key ${checkpoint.key}, which is not that of this control plane (${key})`;
      return verify(null, textOf(region, checkpoint), publicKey, checkpoint.signature) ? undefined : 'its signature does not hold';
    },
  };
}

function textOf(region: string, { role, position, era, xid, seq, hash, at }: Omit<Checkpoint, 'key' | 'signature'>): Buffer {
  return Buffer.from(
    JSON.stringify(['virt8ra audit checkpoint 1', region, role, String(position), era, xid, seq, hash.toString('hex'), at]),
  );
}

function keyFromText(text: string, path: string): KeyObject {
  try {
    return createPrivateKey({ key: JSON.parse(text) as object, format: 'jwk' } as Parameters<typeof createPrivateKey>[0]);
  } catch (cause) {
    throw new Problem('internal', `${path} is damaged. Restore it from a backup: without it what was sealed so far cannot be verified`, {
      cause,
    });
  }
}
