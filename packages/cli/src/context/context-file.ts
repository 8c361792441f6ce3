import { chmod, mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Problem } from '@virt8ra/contract';

/** A control plane with the right to speak to it and the place to work in. */
export interface Context {
  readonly server: string;
  /** Empty: logged out. */
  readonly token: string;
  /** Where the token came from, and what renews it. */
  readonly login?: {
    readonly name: string;
    readonly issuer: string;
    readonly clientId: string;
    readonly expiresAtMs: number;
    readonly refreshToken?: string;
  };
  readonly tenant?: string;
  readonly workspace?: string;
  /** PEM text of the certificates to trust, when the system does not know them. */
  readonly ca?: string;
}

export interface ContextFile {
  readonly current?: string;
  readonly contexts: Readonly<Record<string, Context>>;
}

export function contextPath(configFolder: string): string {
  return join(configFolder, 'config.json');
}

/** Reads the contexts; none when there is no file. Raises `invalid-request` when the file is broken. */
export async function readContexts(configFolder: string): Promise<ContextFile> {
  const path = contextPath(configFolder);
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return { contexts: {} };
    throw new Problem('invalid-request', `cannot read ${path}: ${(cause as Error).message}`, { cause });
  }
  try {
    const file = JSON.parse(text) as ContextFile;
    if (typeof file.contexts === 'object' && file.contexts !== null) return file;
  } catch {
    // Told below: a broken file and a file of another shape are mended the same way.
  }
  throw new Problem('invalid-request', `${path} is not a file of contexts; remove it and run "virt8ra login" again`);
}

/** Replaces the file as a whole, readable by its owner only: it holds tokens. */
export async function writeContexts(configFolder: string, file: ContextFile): Promise<void> {
  const path = contextPath(configFolder);
  const partial = `${path}.${process.pid}.tmp`;
  try {
    await mkdir(configFolder, { recursive: true, mode: 0o700 });
    await writeFile(partial, `${JSON.stringify(file, null, 2)}\n`, { mode: 0o600 });
    await chmod(partial, 0o600);
    await rename(partial, path);
  } catch (cause) {
    throw new Problem('invalid-request', `cannot write ${path}: ${(cause as Error).message}`, { cause });
  }
}
