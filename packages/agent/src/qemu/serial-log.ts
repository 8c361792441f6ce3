import { copyFile, stat, truncate } from 'node:fs/promises';

/** A serial log is cut when it is longer than this; the cut part stays as `….1` until the next cut. */
const serialLimitBytes = 1024 * 1024;

/**
 * Length of a serial log, which is cut when it has grown too long. QEMU appends to the file by itself, so that the console goes on while
 * no agent runs; the cut is then made up for when one returns. Answers the bytes in the file and those dropped by this call.
 */
export async function tendSerialLog(
  path: string,
  limitBytes = serialLimitBytes,
): Promise<{ readonly bytes: number; readonly dropped: number }> {
  const bytes = await stat(path).then(
    ({ size }) => size,
    () => 0,
  );
  if (bytes <= limitBytes) return { bytes, dropped: 0 };
  await copyFile(path, `${path}.1`);
  // The guest's process opened the file for appending: its next write lands at the new end.
  await truncate(path, 0);
  return { bytes: 0, dropped: bytes };
}
