import { randomBytes } from 'node:crypto';
import { closeSync, openSync, readSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { digestBytes } from './chunks.js';
import { type PageStore, pageChunks } from './digest-table.js';

/** Pages in a file without a name, which is gone with the process at the latest. It is made when the first page is written. */
export function scratchPages(directory: string): PageStore {
  const stride = pageChunks * digestBytes;
  let file: number | undefined;
  const open = (): number => {
    const path = join(directory, `pages.${randomBytes(6).toString('hex')}`);
    const opened = openSync(path, 'wx+', 0o600);
    rmSync(path);
    return opened;
  };
  return {
    read: (page, into) => {
      if (file !== undefined) readSync(file, into, 0, into.length, page * stride);
    },
    write: (page, bytes, from) => {
      file ??= open();
      writeSync(file, bytes, 0, bytes.length, page * stride + from);
    },
    close: () => {
      if (file !== undefined) closeSync(file);
      file = undefined;
    },
  };
}
