import type { GuestChange, GuestDiskFacts, PrepareGuest } from '@virt8ra/contract';
import type { GuestUser } from '../qemu/guest-user.js';

/** One disk of a guest: its qcow2 files, newest on top, or an export that is served already. */
export type GuestDisk = { readonly files: readonly string[] } | { readonly socket: string; readonly exportName: string };

/**
 * Looks into the disks of a guest that does not run, or into frozen views of one that does, and changes what has to be changed there. What lies on the disks is a
 * stranger's: no kernel of this host ever mounts it.
 */
export interface GuestDisks {
  /** Why it cannot be done on this host, with the mend; undefined: it can. */
  lack(): Promise<string | undefined>;
  /** Changes nothing. Disks are in the order of the machine. `as`: who alone may connect to what is served already. Raises Problem unsupported where it cannot be done, unavailable when it takes too long. */
  inspect(disks: readonly GuestDisk[], signal: AbortSignal, as?: GuestUser): Promise<GuestDiskFacts>;
  /**
   * Makes every change that the guest needs for the target. Cut in the middle, some are made: the disks must be such that they can be thrown away. Raises Problem conflict
   * where one is needed and none may be made, unsupported for a guest that is no Linux.
   */
  prepare(disks: readonly GuestDisk[], wanted: PrepareGuest, signal: AbortSignal): Promise<readonly GuestChange[]>;
}

/** The file systems of a guest, mounted as it mounts them. Paths are the guest's; links never lead out of it. */
export interface GuestTree {
  /** Undefined: there is none, or it is larger than any file of configuration. */
  text(path: string): Promise<string | undefined>;
  exists(path: string): Promise<boolean>;
  isLink(path: string): Promise<boolean>;
  /** Paths that match a pattern of the shell, sorted. */
  list(pattern: string): Promise<readonly string[]>;
  /** What a program of the guest's own prints; undefined when it fails. It runs where it reaches nothing but these disks. */
  output(command: readonly string[]): Promise<string | undefined>;
}
