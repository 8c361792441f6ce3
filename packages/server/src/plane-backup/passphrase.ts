import { readFile } from 'node:fs/promises';
import { Problem } from '@virt8ra/contract';

const leastLength = 12;

/** First line of the file. Raises `validation` when it cannot be read or is too short. */
export async function readPassphrase(path: string | undefined): Promise<string | undefined> {
  if (path === undefined) return undefined;
  const text = await readFile(path, 'utf8').catch((cause: unknown) => {
    throw new Problem('validation', `the passphrase file ${path} cannot be read: ${(cause as Error).message}`, { cause });
  });
  const passphrase = (text.split('\n', 1)[0] ?? '').trim();
  if (passphrase.length >= leastLength) return passphrase;
  throw new Problem('validation', `the first line of ${path} must be a passphrase of at least ${leastLength} characters`);
}
