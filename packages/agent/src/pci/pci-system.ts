import { constants } from 'node:fs';
import { chmod, chown, open, stat, writeFile } from 'node:fs/promises';
import { networkInterfaces } from 'node:os';
import { Problem } from '@virt8ra/contract';
import { errorCode } from '../disk/atomic-file.js';
import { runCommand } from '../system/run-command.js';

/** What of the machine is needed to see its PCI devices and to hand them over. Files are read where it says; all changes go through it. */
export interface PciSystem {
  /** `/sys`, `/proc`, `/dev`. */
  readonly sys: string;
  readonly proc: string;
  readonly dev: string;
  /** Whether this process may bind devices at all. */
  readonly root: boolean;
  /** Addresses of the host's interfaces, link-local ones left out, by interface. */
  addresses(): Readonly<Record<string, readonly string[]>>;
  /** Writes to a file of the kernel's. Raises the system's error, or Problem unavailable when the kernel does not come back. */
  write(path: string, text: string): Promise<void>;
  /** Raises Problem internal or unsupported. */
  loadModule(name: string): Promise<void>;
  /** Whether somebody has a device file for himself. */
  isTaken(path: string): Promise<boolean>;
  /** Gives a device file to a user alone. Nothing happens when there is no such file. */
  give(path: string, uid: number): Promise<void>;
}

/** A driver that does not let go of its device, such as one whose device is open, holds the writer up. */
const writeMs = 20_000;

export function hostPciSystem(root: boolean): PciSystem {
  return {
    sys: '/sys',
    proc: '/proc',
    dev: '/dev',
    root,
    addresses: () =>
      Object.fromEntries(
        Object.entries(networkInterfaces()).map(([name, own = []]) => [
          name,
          own.map(({ address }) => address).filter((address) => !address.startsWith('fe80:')),
        ]),
      ),
    write: async (path, text) => {
      let timer: NodeJS.Timeout | undefined;
      const late = new Promise<never>((_, reject) => {
        timer = setTimeout(
          () => reject(new Problem('unavailable', `the kernel has not answered for ${writeMs / 1000} s: ${path}`)),
          writeMs,
        );
      });
      try {
        // Many of these files can only be written to, and are refused to whoever would read as well.
        await Promise.race([writeFile(path, text, { flag: constants.O_WRONLY }), late]);
      } finally {
        clearTimeout(timer);
      }
    },
    loadModule: async (name) => {
      await runCommand('modprobe', [name]);
    },
    isTaken: async (path) => {
      // Linux opens a block device exclusively only while nobody else has it so, and a VFIO group only once.
      try {
        const file = await open(path, flagsFor((await stat(path)).isBlockDevice()));
        await file.close();
        return false;
      } catch (error) {
        return errorCode(error) === 'EBUSY';
      }
    },
    give: async (path, uid) => {
      try {
        await chown(path, uid, uid);
        await chmod(path, 0o600);
      } catch (error) {
        if (errorCode(error) !== 'ENOENT') throw error;
      }
    },
  };
}

function flagsFor(isBlock: boolean): number {
  const readOnly = 0;
  const readWrite = 2;
  const exclusive = 0o200;
  return isBlock ? readOnly | exclusive : readWrite;
}
