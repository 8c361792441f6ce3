import { randomBytes } from 'node:crypto';
import { chown, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { makeDirectory } from '../disk/atomic-file.js';
import type { Guest } from '../qemu/guest.js';
import type { GuestUser } from '../qemu/guest-user.js';

/** Name of the credentials in both hypervisors. */
export const credentialsId = 'live-tls';
const userName = 'virt8ra';

/** A key for one attempt of one move; 256 bits, hexadecimal. */
export function newAttemptKey(): string {
  return randomBytes(32).toString('hex');
}

/**
 * Gives a hypervisor the key of an attempt, for TLS with a pre-shared key: who does not have it cannot connect, and it opens nothing else. It lies
 * in a file that only the guest's user may read, until `takeKey`: a listening hypervisor reads it again for every connection.
 */
export async function giveKey(guest: Guest, user: GuestUser | undefined, endpoint: 'client' | 'server', key: string): Promise<void> {
  await takeKey(guest);
  const directory = keyDirectory(guest);
  const file = join(directory, 'keys.psk');
  await makeDirectory(directory);
  await writeFile(file, `${userName}:${key}\n`, { mode: 0o600 });
  if (user !== undefined) for (const path of [directory, file]) await chown(path, user.uid, user.gid);
  await guest.monitor.run('object-add', {
    'qom-type': 'tls-creds-psk',
    id: credentialsId,
    endpoint,
    dir: directory,
    ...(endpoint === 'client' ? { username: userName } : {}),
  });
}

/** The key is forgotten by all. Silent when there is none. */
export async function takeKey(guest: Guest): Promise<void> {
  await guest.monitor.run('object-del', { id: credentialsId }).catch(() => {});
  await rm(keyDirectory(guest), { recursive: true, force: true });
}

function keyDirectory(guest: Guest): string {
  return join(dirname(guest.paths.qmp), 'live');
}
