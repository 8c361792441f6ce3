import { rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { errorCode } from './atomic-file.js';
import { roomAt } from './room.js';

const ballastBytes = 4 * 1024 * 1024;

/**
 * Room that is kept so that an agent can start on a disk that its guests have filled: it is thrown off then, and made again by an agent that starts
 * when there is room.
 */
export async function settleBallast(directory: string): Promise<void> {
  const path = join(directory, 'ballast');
  const { freeBytes } = await roomAt(directory);
  if (freeBytes < ballastBytes) return await rm(path, { force: true });
  const held = await stat(path).catch((error: unknown) => {
    if (errorCode(error) === 'ENOENT') return undefined;
    throw error;
  });
  if (held?.size === ballastBytes || freeBytes < 4 * ballastBytes) return;
  await writeFile(path, Buffer.alloc(ballastBytes, 1), { mode: 0o600 });
}
