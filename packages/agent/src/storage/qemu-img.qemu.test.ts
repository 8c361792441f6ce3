import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { hasCommand } from '../system/run-command.js';
import { inspectImage } from './qemu-img.js';

const present = await hasCommand('qemu-img');
if (!present) process.stderr.write('skipped: qemu-img is not installed\n');

describe.skipIf(!present)('an image made by strangers', () => {
  let folder: string;
  const path = (name: string) => join(folder, name);
  const make = (...args: string[]) => execFileSync('qemu-img', ['create', '-q', ...args]);
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'v8i-'));
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  it('is measured when it stands alone', async () => {
    make('-f', 'qcow2', path('good'), '10M');
    expect(await inspectImage(path('good'), 'qcow2')).toMatchObject({ virtualBytes: 10 * 1024 ** 2 });
  });

  it('is refused when it names a backing file', async () => {
    make('-f', 'raw', path('base'), '1M');
    make('-f', 'qcow2', '-F', 'raw', '-b', path('base'), path('evil'));
    await expect(inspectImage(path('evil'), 'qcow2')).rejects.toMatchObject({
      kind: 'validation',
      message: expect.stringContaining('backing file'),
    });
  });

  it('is refused when it keeps its content in another file', async () => {
    make('-f', 'qcow2', '-o', `data_file=${path('data')}`, path('evil'), '1M');
    await expect(inspectImage(path('evil'), 'qcow2')).rejects.toMatchObject({
      kind: 'validation',
      message: expect.stringContaining('data file'),
    });
  });

  it('is refused as qcow2 when it is something else, and taken literally as raw', async () => {
    writeFileSync(path('text'), 'x'.repeat(4096));
    await expect(inspectImage(path('text'), 'qcow2')).rejects.toMatchObject({ kind: 'validation' });
    make('-f', 'qcow2', path('qcow2'), '1G');
    expect((await inspectImage(path('qcow2'), 'raw')).virtualBytes).toBeLessThan(1024 ** 2);
  });
});
