import { statfs } from 'node:fs/promises';
import { release } from 'node:os';
import { dirname } from 'node:path';
import { type Finding, found, toProblem } from '@virt8ra/contract';
import type { AgentConfig } from '../config.js';
import { errorCode } from '../disk/atomic-file.js';
import { requireReachable } from '../qemu/guest-user.js';
import { hostMemory } from '../storage/space.js';

const mib = 1024 ** 2;
const oldestKernel = [5, 10] as const;

/** Kinds of file system by their magic (statfs(2)), with what speaks against disks of guests there. */
const fileSystems: ReadonlyMap<number, readonly [name: string, fault?: string]> = new Map<number, readonly [string, string?]>([
  [0xef53, ['ext4']],
  [0x58465342, ['xfs']],
  [0x9123683e, ['btrfs']],
  [0x2fc12fc1, ['zfs']],
  [0x01021994, ['tmpfs', 'it lies in memory and is gone after a restart of the host']],
  [0x794c7630, ['overlayfs', 'it is a layer of a container and may go with it']],
  [0x6969, ['nfs', 'a promise written there may be lost, and with it the rule that one host runs an instance']],
  [0xff534d42, ['cifs', 'a promise written there may be lost, and with it the rule that one host runs an instance']],
]);

export async function checkHost(config: AgentConfig): Promise<readonly Finding[]> {
  return [checkKernel(), await checkMemory(config), ...(await checkDisk(config)), await checkUser(config)];
}

function checkKernel(): Finding {
  const [major = 0, minor = 0] = release().split('.').map(Number);
  const old = major < oldestKernel[0] || (major === oldestKernel[0] && minor < oldestKernel[1]);
  return found('host/kernel', old ? 'warn' : 'pass', release(), `use Linux ${oldestKernel.join('.')} or newer`);
}

async function checkMemory({ reserveMemoryMiB }: AgentConfig): Promise<Finding> {
  const { totalMiB, availableMiB } = await hostMemory();
  const text = `${availableMiB} of ${totalMiB} MiB are available, ${reserveMemoryMiB} are kept from guests`;
  if (totalMiB <= reserveMemoryMiB) return found('host/memory', 'fail', text, 'more memory, or a smaller --reserve-memory-mib');
  return found('host/memory', availableMiB < reserveMemoryMiB ? 'warn' : 'pass', text, 'see what else uses memory here, or drain the host');
}

async function checkDisk({ stateDirectory, reserveStorageBytes }: AgentConfig): Promise<readonly Finding[]> {
  const { type, bsize, blocks, bavail } = await statfs(await nearest(stateDirectory));
  const freeMiB = Math.floor((bsize * bavail) / mib);
  const text = `${freeMiB} of ${Math.floor((bsize * blocks) / mib)} MiB are free below ${stateDirectory}`;
  const level = freeMiB < 256 ? 'fail' : freeMiB * mib < reserveStorageBytes ? 'warn' : 'pass';
  const [name, fault] = fileSystems.get(type) ?? [`type 0x${type.toString(16)}`];
  return [
    found('host/disk', level, text, 'free some space there, or choose another disk with --state'),
    found(
      'host/file-system',
      fault === undefined ? 'pass' : 'warn',
      fault === undefined ? name : `${name}: ${fault}`,
      'a local disk with ext4 or xfs, by --state',
    ),
  ];
}

async function checkUser({ root, stateDirectory }: AgentConfig): Promise<Finding> {
  if (!root)
    return found('host/user', 'warn', 'not root: guests get user-mode networking', 'run it as root for bridges and a user for each guest');
  try {
    await requireReachable(await nearest(stateDirectory));
    return found('host/user', 'pass', 'root, and guests reach their disks');
  } catch (error) {
    return found('host/user', 'fail', toProblem(error).message, `chmod o+x on the folders above ${stateDirectory}`);
  }
}

/** The folder itself, or the one above it that is there already. */
async function nearest(path: string): Promise<string> {
  for (let folder = path; ; folder = dirname(folder)) {
    try {
      await statfs(folder);
      return folder;
    } catch (error) {
      if (errorCode(error) !== 'ENOENT' || folder === dirname(folder)) throw error;
    }
  }
}
