import { createHash } from 'node:crypto';
import { stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { Problem } from '@virt8ra/contract';

/**
 * Guests run under user ids of their own, one for each instance, without entries in /etc/passwd: 0x70000000 plus 28 bits of the key's
 * hash. No system hands these out (systemd's UIDS-GIDS.md leaves the range free), so that guests are strangers to the host and to each other.
 */
export const guestUidBase = 0x70000000;

export function guestUid(instanceKey: string): number {
  return guestUidBase + (createHash('sha256').update(instanceKey).digest().readUInt32BE(0) & 0x0fffffff);
}

/** Who a guest's process is. Undefined when the agent is not root: then it is the agent's own user. */
export interface GuestUser {
  readonly uid: number;
  readonly gid: number;
  /** Group that may open /dev/kvm, when there is one. */
  readonly kvmGid?: number;
}

/** Group that /dev/kvm is open to, or undefined when only its owner may use it. */
export async function kvmGroup(): Promise<number | undefined> {
  try {
    const { gid, mode } = await stat('/dev/kvm');
    return (mode & 0o060) === 0o060 && gid !== 0 ? gid : undefined;
  } catch {
    return undefined;
  }
}

/** The command that turns into `command` as that user, without privileges and with no way to gain any. */
export function unprivileged(user: GuestUser | undefined, command: readonly string[]): string[] {
  const identity =
    user === undefined
      ? []
      : [
          `--reuid=${user.uid}`,
          `--regid=${user.gid}`,
          user.kvmGid === undefined ? '--clear-groups' : `--groups=${user.kvmGid}`,
          '--bounding-set=-all',
          '--ambient-caps=-all',
          '--inh-caps=-all',
        ];
  return ['setpriv', ...identity, '--no-new-privs', '--', ...command];
}

/** Raises Problem invalid-request when strangers cannot pass a folder on the way to `path`; guests under their own user could not reach their disks. */
export async function requireReachable(path: string): Promise<void> {
  for (let folder = path; ; folder = dirname(folder)) {
    const { mode } = await stat(folder);
    if ((mode & 0o001) === 0) {
      throw new Problem(
        'invalid-request',
        `${folder} lets nobody through, but guests run under users of their own and have files below it. Run \`chmod o+x ${folder}\` or choose another --state.`,
      );
    }
    if (folder === dirname(folder)) return;
  }
}
