import { stat } from 'node:fs/promises';

/** How QEMU opens what the bytes of a disk lie in: a file, or a block device. */
export type DiskDriver = 'file' | 'host_device';

/** Follows links. What is not there will be a file. */
export async function driverAt(path: string): Promise<DiskDriver> {
  return await stat(path).then(
    (found) => (found.isBlockDevice() ? 'host_device' : 'file'),
    () => 'file',
  );
}

/**
 * A node of QEMU's block layer for the file or device itself. A device is written past the page cache: the kernel tells of one that has no room
 * only when it writes its cache out, when a guest has been told long since that its data is safe.
 */
export function diskFileNode(driver: DiskDriver, filename: string): Readonly<Record<string, unknown>> {
  return { driver, filename, ...(driver === 'host_device' ? { cache: { direct: true } } : {}) };
}
