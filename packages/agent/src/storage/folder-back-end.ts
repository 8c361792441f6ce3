import { rm, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { errorCode, syncDirectory } from '../disk/atomic-file.js';
import { linkOf, otherBackEnd, type VolumeBackEnd } from './volume-back-end.js';

/** Volumes are files, which grow as they are written: the place is made by who writes. */
export function folderBackEnd(root: string): VolumeBackEnd {
  return {
    driver: 'file',
    room: root,
    open: async (volumes) => {
      for (const { key, base } of volumes) {
        const device = (await linkOf(base))?.device;
        if (device !== undefined) throw otherBackEnd(key, device, root, 'thin-pool:GROUP/POOL');
      }
    },
    make: async ({ path }) => await rm(path, { force: true }),
    widen: async () => {},
    drop: async ({ path }) => {
      await rm(path, { force: true });
      await syncDirectory(dirname(path));
    },
    dropAll: async () => {},
    takenBytes: async ({ path }) => {
      try {
        return (await stat(path)).blocks * 512;
      } catch (error) {
        if (errorCode(error) === 'ENOENT') return 0;
        throw error;
      }
    },
    strays: async () => [],
  };
}
