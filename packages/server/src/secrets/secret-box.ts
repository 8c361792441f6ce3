import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { Problem } from '@virt8ra/contract';
import { readText, writeFileAtomic } from '../files/atomic-file.js';
import { withFileLock } from '../files/file-lock.js';

/** Keeps secrets in the database so that the database alone does not tell them. */
export interface SecretBox {
  /** `of`: whose it is; sealed for one it opens for no other. */
  seal(secret: string, of: string): string;
  /** Raises `internal` when it was sealed with another key. */
  open(sealed: string, of: string): string;
}

const algorithm = 'aes-256-gcm';
const ivBytes = 12;
const tagBytes = 16;

/** Each with a key of its own in `STATE/identity`. `mend`: what is to be done when that is lost. */
export const secretBoxes = {
  webhooks: { file: 'webhooks.key', mend: 'rotate the secret of every webhook' },
  accounts: { file: 'accounts.key', mend: 'give every account its credentials again' },
} as const;

/** With its key, which is made at the first start. Raises `internal` when it is damaged. */
export async function openSecretBox(stateDirectory: string, which: keyof typeof secretBoxes): Promise<SecretBox> {
  const { file, mend } = secretBoxes[which];
  const directory = join(stateDirectory, 'identity');
  const path = join(directory, file);
  // Servers that start together on a new state directory must agree on one key.
  const text = await withFileLock(join(stateDirectory, 'identity.lock'), async () => {
    await mkdir(directory, { recursive: true, mode: 0o700 });
    const kept = await readText(path);
    if (kept !== undefined) return kept;
    const made = randomBytes(32).toString('base64');
    await writeFileAtomic(path, made);
    return made;
  });
  const key = Buffer.from(text.trim(), 'base64');
  if (key.length !== 32) throw new Problem('internal', `${path} is damaged. Restore it from a backup, or remove it and ${mend}`);
  return createSecretBox(key, which);
}

export function createSecretBox(key: Buffer, which: keyof typeof secretBoxes): SecretBox {
  const { file, mend } = secretBoxes[which];
  return {
    seal(secret, of) {
      const iv = randomBytes(ivBytes);
      const cipher = createCipheriv(algorithm, key, iv).setAAD(Buffer.from(of));
      return Buffer.concat([iv, cipher.update(secret, 'utf8'), cipher.final(), cipher.getAuthTag()]).toString('base64');
    },
    open(sealed, of) {
      const bytes = Buffer.from(sealed, 'base64');
      try {
        const opener = createDecipheriv(algorithm, key, bytes.subarray(0, ivBytes), { authTagLength: tagBytes }).setAAD(Buffer.from(of));
        opener.setAuthTag(bytes.subarray(-tagBytes));
        return Buffer.concat([opener.update(bytes.subarray(ivBytes, -tagBytes)), opener.final()]).toString('utf8');
      } catch (cause) {
        throw new Problem('internal', `a secret was sealed with another key than STATE/identity/${file}: ${mend}`, { cause });
      }
    },
  };
}
