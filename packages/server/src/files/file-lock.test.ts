import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { lockFile, withFileLock } from './file-lock.js';

let folder: string;
let path: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'virt8ra-lock-'));
  path = join(folder, 'lock');
});
afterEach(async () => await rm(folder, { recursive: true, force: true }));

describe('file lock', () => {
  it('is given to one, or to many who share it', async () => {
    const one = await lockFile(path, 'exclusive', { wait: false });
    expect(await lockFile(path, 'shared', { wait: false })).toBeUndefined();
    await one?.release();
    const two = await lockFile(path, 'shared', { wait: false });
    const three = await lockFile(path, 'shared', { wait: false });
    expect(three).toBeDefined();
    expect(await lockFile(path, 'exclusive', { wait: false })).toBeUndefined();
    await two?.release();
    await three?.release();
    expect((await stat(path)).mode & 0o777).toBe(0o600);
  });

  it('lets one after another through', async () => {
    const order: string[] = [];
    let inside = 0;
    await Promise.all(
      ['a', 'b', 'c', 'd'].map(
        async (name) =>
          await withFileLock(path, async () => {
            inside += 1;
            expect(inside).toBe(1);
            await new Promise((resolve) => setImmediate(resolve));
            order.push(name);
            inside -= 1;
          }),
      ),
    );
    expect(order.sort()).toEqual(['a', 'b', 'c', 'd']);
  });

  it('ends with a process that is killed', async () => {
    // Holds the lock as `lockFile` does: a child that lives as long as its standard input.
    const holder = spawn(process.execPath, [
      '-e',
      `const c = require('node:child_process').spawn('flock', ['--exclusive', '--no-fork', ${JSON.stringify(path)}, 'cat'], { stdio: ['pipe', 'pipe', 'inherit'], detached: true });
       c.stdin.write('.'); c.stdout.once('data', () => process.stdout.write('held'));`,
    ]);
    await once(holder.stdout, 'data');
    expect(await lockFile(path, 'exclusive', { wait: false })).toBeUndefined();
    holder.kill('SIGKILL');

    const lock = await lockFile(path, 'exclusive', { wait: true });
    expect(lock).toBeDefined();
    await lock?.release();
  });

  it('says what is wrong when the place cannot be written', async () => {
    await expect(lockFile(join(folder, 'missing', 'lock'), 'exclusive', { wait: false })).rejects.toThrow('ENOENT');
    expect(() => execFileSync('flock', ['--version'])).not.toThrow();
  });
});
