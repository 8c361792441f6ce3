import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import type { Log } from '@virt8ra/engine';

/** The unprivileged account PostgreSQL runs as when the server is root: postgres refuses root. */
export interface Account {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
}

const execute = promisify(execFile);

/**
 * Undefined when this process is not root: PostgreSQL then runs as the same user. Else the account of that name, created when missing;
 * where that is not possible `nobody`, which other programs share, with a warning.
 */
export async function databaseAccount(name: string, log: Log): Promise<Account | undefined> {
  if (process.getuid?.() !== 0) return undefined;
  const existing = await findAccount(name);
  if (existing !== undefined) return existing;
  try {
    await execute('useradd', ['--system', '--no-create-home', '--home-dir', '/nonexistent', '--shell', '/usr/sbin/nologin', name]);
    log.info('a system account was created', { account: name });
  } catch (error) {
    log.warn('the system account could not be created; nobody is used, which is shared with other programs', {
      account: name,
      error: (error as Error).message,
    });
  }
  return (await findAccount(name)) ?? (await findAccount('nobody')) ?? { name: 'nobody', uid: 65534, gid: 65534 };
}

/** Looks where the system looks (NSS), else in the file itself. By name or by number. */
export async function findAccount(nameOrUid: string | number): Promise<Account | undefined> {
  const text = await execute('getent', ['passwd', `${nameOrUid}`]).then(
    ({ stdout }) => stdout,
    async (error: { code?: unknown }) => (error.code === 2 ? '' : await readFile('/etc/passwd', 'utf8').catch(() => '')),
  );
  for (const line of text.split('\n')) {
    const [name, , uid, gid] = line.split(':');
    if (name === undefined || uid === undefined || gid === undefined) continue;
    if (name === nameOrUid || uid === `${nameOrUid}`) return { name, uid: Number(uid), gid: Number(gid) };
  }
  return undefined;
}
