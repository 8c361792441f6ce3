import { createPrivateKey, createPublicKey, generateKeyPairSync } from 'node:crypto';
import { rename } from 'node:fs/promises';
import { join } from 'node:path';
import { Problem, toProblem } from '@virt8ra/contract';
import { makeDirectory, readText, sweepUnfinished, syncDirectory, writeFileAtomic, writeJsonAtomic } from '../disk/atomic-file.js';
import { type Quarantine, readJsonOrQuarantine } from '../disk/quarantine.js';

interface KeyNotes {
  readonly version: 1;
  /** Wall clock, milliseconds. */
  readonly madeAt: number;
  /** The newest order to change the key that was carried out. */
  readonly rotation: number;
}

/**
 * The agent's tunnel keys, in files of their own that only their owner reads. The private ones never leave them: `wg` is given the path.
 * A change has two steps, so that peers can take the new public key before it is used: `prepare`, then `promote`.
 */
export class TunnelKeys {
  readonly #folder: string;
  #notes: KeyNotes;
  #publicKey: string;
  #next: string | undefined;

  private constructor(folder: string, notes: KeyNotes, publicKey: string, next: string | undefined) {
    this.#folder = folder;
    this.#notes = notes;
    this.#publicKey = publicKey;
    this.#next = next;
  }

  /** Makes the first key where there is none, and another where it is damaged: peers learn it by way of the control plane. */
  static async open(folder: string, nowMs: number, quarantine: Quarantine): Promise<TunnelKeys> {
    await makeDirectory(folder);
    await sweepUnfinished(folder);
    const current = join(folder, 'private-key');
    let publicKey = await publicKeyOrQuarantine(current, quarantine);
    if (publicKey === undefined) {
      publicKey = await makeKey(current);
      await writeJsonAtomic(join(folder, 'keys.json'), { version: 1, madeAt: nowMs, rotation: 0 } satisfies KeyNotes);
    }
    const read = await readJsonOrQuarantine(join(folder, 'keys.json'), quarantine);
    const notes = read.type === 'content' ? (read.content as Partial<KeyNotes> | null) : undefined;
    return new TunnelKeys(
      folder,
      { version: 1, madeAt: notes?.madeAt ?? nowMs, rotation: notes?.rotation ?? 0 },
      publicKey,
      await publicKeyOrQuarantine(join(folder, 'next-private-key'), quarantine),
    );
  }

  get publicKey(): string {
    return this.#publicKey;
  }
  get nextPublicKey(): string | undefined {
    return this.#next;
  }
  get rotation(): number {
    return this.#notes.rotation;
  }
  /** Where the key in use lies, as `wg` reads it. */
  get privateKeyPath(): string {
    return join(this.#folder, 'private-key');
  }

  ageMs(nowMs: number): number {
    return nowMs - this.#notes.madeAt;
  }

  /** Makes the next key, if there is none yet; `rotation` is the order that this carries out. */
  async prepare(rotation: number): Promise<void> {
    this.#next ??= await makeKey(join(this.#folder, 'next-private-key'));
    if (rotation === this.#notes.rotation) return;
    await this.#note({ ...this.#notes, rotation });
  }

  /** The next key becomes the one in use; the old one is gone. */
  async promote(nowMs: number): Promise<void> {
    if (this.#next === undefined) return;
    await this.#note({ ...this.#notes, madeAt: nowMs });
    await rename(join(this.#folder, 'next-private-key'), this.privateKeyPath);
    await syncDirectory(this.#folder);
    this.#publicKey = this.#next;
    this.#next = undefined;
  }

  async #note(notes: KeyNotes): Promise<void> {
    await writeJsonAtomic(join(this.#folder, 'keys.json'), notes);
    this.#notes = notes;
  }
}

async function makeKey(path: string): Promise<string> {
  const { privateKey } = generateKeyPairSync('x25519');
  const { d = '', x = '' } = privateKey.export({ format: 'jwk' });
  await writeFileAtomic(path, `${base64(d)}\n`, 0o600);
  return base64(x);
}

/** A damaged key is of no use to anybody: without it this host only has to be told of anew. */
async function publicKeyOrQuarantine(path: string, quarantine: Quarantine): Promise<string | undefined> {
  try {
    return await publicKeyIn(path);
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    await quarantine.move(path, toProblem(error).message);
    return undefined;
  }
}

async function publicKeyIn(path: string): Promise<string | undefined> {
  const text = (await readText(path))?.trim();
  if (text === undefined) return undefined;
  const raw = Buffer.from(text, 'base64');
  if (raw.length !== 32) throw new Problem('internal', `${path} is damaged: it is no tunnel key`);
  // PKCS #8 of an X25519 key (RFC 8410): a fixed head before the 32 bytes.
  const der = Buffer.concat([Buffer.from('302e020100300506032b656e04220420', 'hex'), raw]);
  const { x = '' } = createPublicKey(createPrivateKey({ key: der, format: 'der', type: 'pkcs8' })).export({ format: 'jwk' });
  return base64(x);
}

function base64(base64url: string): string {
  return Buffer.from(base64url, 'base64url').toString('base64');
}
