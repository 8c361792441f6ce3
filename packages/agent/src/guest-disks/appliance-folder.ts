import { access, chmod, open, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { Problem } from '@virt8ra/contract';
import { makeDirectory } from '../disk/atomic-file.js';
import { hasCommand, runCommand } from '../system/run-command.js';

const install = 'apt install guestfish';
const recipes = ['/usr/lib/x86_64-linux-gnu/guestfs/supermin.d', '/usr/lib64/guestfs/supermin.d', '/usr/lib/guestfs/supermin.d'];
const buildMs = 300_000;

/** Why guests' disks cannot be looked into on this host, with the mend; undefined: they can. */
export async function lackOfAppliance(): Promise<string | undefined> {
  if (process.arch !== 'x64') return 'guests’ disks are looked into on amd64 only';
  for (const program of ['guestfish', 'supermin', 'stdbuf', 'qemu-nbd', 'setpriv'])
    if (!(await hasCommand(program))) return `${program} is not installed, so that guests’ disks cannot be looked into: ${install}`;
  if ((await recipe()) === undefined) return `libguestfs has no appliance here, so that guests’ disks cannot be looked into: ${install}`;
  const kernels = (await readdir('/boot').catch((): string[] => [])).filter((name) => name.startsWith('vmlinuz-'));
  const modules = await readdir('/lib/modules').catch((): string[] => []);
  if (!kernels.some((kernel) => modules.includes(kernel.slice('vmlinuz-'.length))))
    return 'there is no kernel in /boot with modules in /lib/modules, and guests’ disks are looked into under a kernel of their own: apt install linux-image-cloud-amd64';
  return undefined;
}

async function recipe(): Promise<string | undefined> {
  for (const path of recipes)
    if (
      await access(path).then(
        () => true,
        () => false,
      )
    )
      return path;
  return undefined;
}

/**
 * Makes the appliance of libguestfs in `folder`, or renews it after an upgrade of the host, as root and readable by everybody: who runs it is a stranger. Raises
 * Problem unsupported where it cannot be made.
 */
export async function makeAppliance(folder: string, signal: AbortSignal): Promise<string> {
  const lack = await lackOfAppliance();
  const from = await recipe();
  if (lack !== undefined || from === undefined) throw new Problem('unsupported', lack ?? install);
  await makeDirectory(folder, 0o711);
  const made = join(folder, 'appliance');
  const options = ['--build', '--if-newer', '--lock', join(folder, 'lock'), '--copy-kernel', '-f', 'ext2', '--host-cpu', 'x86_64'];
  await runCommand('supermin', [...options, from, '-o', made], { timeoutMs: buildMs, signal });
  // libguestfs takes a folder for a whole appliance by this file.
  await (await open(join(made, 'README.fixed'), 'a')).close();
  await chmod(made, 0o755);
  for (const name of ['kernel', 'initrd', 'root', 'README.fixed']) await chmod(join(made, name), 0o644);
  return made;
}
