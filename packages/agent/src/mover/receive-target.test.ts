import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { openReceiveTarget } from './receive-target.js';

it('does not open a disk that is whole for a transfer whose journal is gone', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'receive-target-'));
  try {
    const runtimeDirectory = join(folder, 'run');
    const disks = [{ file: join(folder, 'base.qcow2'), sizeBytes: 1024 ** 2, frozen: true }];
    await expect(
      openReceiveTarget({ transferId: 't1', directory: join(folder, 't1'), runtimeDirectory, disks, bootId: 'boot' }),
    ).rejects.toMatchObject({ kind: 'conflict', message: expect.stringContaining('base.qcow2 is whole') });
    expect(await readdir(runtimeDirectory)).toEqual([]);
  } finally {
    await rm(folder, { recursive: true });
  }
});
