import { fstatSync, ftruncateSync, renameSync } from 'node:fs';
import { type FileHandle, lstat } from 'node:fs/promises';
import { openGuestFile } from '../system/guest-files.js';

/** A serial log is cut when it is longer than this; the cut part stays as `….1` until the next cut. */
export const serialLimitBytes = 1024 * 1024;

const pieceBytes = 256 * 1024;

/** Where the part goes that is cut off a serial log. */
export function cutPartOf(path: string): string {
  return `${path}.1`;
}

/**
 * Length of a serial log, which is cut when it has grown too long. QEMU appends to the file by itself, so that the console goes on while
 * no agent runs; the cut is then made up for when one returns. Answers the bytes in the file and those dropped by this call.
 */
export async function tendSerialLog(
  path: string,
  limitBytes = serialLimitBytes,
): Promise<{ readonly bytes: number; readonly dropped: number }> {
  // A look at the name alone, which is nothing to follow or to open, tells of most that there is nothing to cut.
  const seen = await lstat(path).catch(() => undefined);
  if (seen === undefined || (seen.isFile() && seen.nlink === 1 && seen.size <= limitBytes)) return { bytes: seen?.size ?? 0, dropped: 0 };
  const file = await openGuestFile(path, 'r+');
  if (file === undefined) return { bytes: 0, dropped: 0 };
  try {
    const { size } = await file.stat();
    return size <= limitBytes ? { bytes: size, dropped: 0 } : { bytes: 0, dropped: await cut(file, path) };
  } finally {
    await file.close();
  }
}

async function cut(file: FileHandle, path: string): Promise<number> {
  const unfinished = `${cutPartOf(path)}.new`;
  const part = await openGuestFile(unfinished, 'new');
  if (part === undefined) return 0;
  try {
    const piece = Buffer.allocUnsafe(pieceBytes);
    for (let copied = 0; ; ) {
      const { bytesRead } = await file.read(piece, 0, pieceBytes, copied);
      if (bytesRead > 0) await part.write(piece, 0, bytesRead, copied);
      copied += bytesRead;
      // What the guest says while it is copied belongs to the part as well: cut only at the end that was seen a moment ago.
      if (bytesRead > 0 || fstatSync(file.fd).size > copied) continue;
      // At one stroke for whoever follows the log in this process: the part is there when, and only when, the log is cut.
      renameSync(unfinished, cutPartOf(path));
      // QEMU opened the file for appending: its next write lands at the new end.
      ftruncateSync(file.fd, 0);
      return copied;
    }
  } finally {
    await part.close();
  }
}
