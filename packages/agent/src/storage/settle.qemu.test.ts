import { existsSync, readFileSync, rmSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openQuarantine } from '../disk/quarantine.js';
import { silentLog } from '../log.js';
import { currentNode, type Guest, launchGuest, quitGuest } from '../qemu/guest.js';
import { hasCommand } from '../system/run-command.js';
import { testFolder } from '../testing/agent-process.js';
import { counterFrom, tinyGuestBytes, tinyGuestImage } from '../testing/tiny-guest.js';
import { convertImage } from './qemu-img.js';
import { settleOffline, settleUnderGuest } from './settle.js';
import { VolumeStore } from './volume-store.js';

const qemu = (await hasCommand('qemu-system-x86_64')) && (await hasCommand('qemu-img'));
if (!qemu) process.stderr.write('skipped: qemu-system-x86_64 and qemu-img are not installed\n');

describe.skipIf(!qemu)('merging an arrived volume', () => {
  let folder: string;
  let volumes: VolumeStore;
  let guest: Guest | undefined;
  const noAbort = new AbortController().signal;

  beforeEach(async () => {
    folder = await testFolder();
    volumes = await VolumeStore.open(join(folder, 'volumes'), openQuarantine(folder, silentLog));
    const { base } = await volumes.begin('v1', tinyGuestBytes);
    await writeFile(join(folder, 'image'), tinyGuestImage());
    await convertImage(join(folder, 'image'), 'raw', base, noAbort);
    await volumes.update('v1', { stage: 'incoming' });
    await volumes.arrive('v1');
  });
  afterEach(async () => {
    if (guest !== undefined) await quitGuest(guest);
    guest = undefined;
    rmSync(folder, { recursive: true, force: true });
  });

  const serial = () => counterFrom(readFileSync(join(folder, 'serial'), 'latin1'));
  const boot = async () => {
    const { base, overlay } = volumes.files('v1');
    const seed = join(folder, 'seed');
    await writeFile(seed, Buffer.alloc(1024 * 1024));
    await writeFile(join(folder, 'serial'), '');
    const paths = {
      qmp: join(folder, 'run/q'),
      moverQmp: join(folder, 'run/m'),
      console: join(folder, 'run/t'),
      vnc: join(folder, 'run/v'),
      agent: join(folder, 'run/a'),
      pid: join(folder, 'run/p'),
      log: join(folder, 'run/l'),
      serial: join(folder, 'serial'),
    };
    const disks = [volumes.get('v1')?.stage === 'arrived' ? { volumeKey: 'v1', base, overlay } : { volumeKey: 'v1', base }];
    guest = await launchGuest(
      {
        architecture: 'amd64',
        launchId: 'test',
        instance: 'res_1',
        machine: 'q35',
        cpuModel: 'qemu64-v1',
        accelerator: 'tcg',
        vCPU: 1,
        memoryMiB: 64,
        disks,
        seed,
        nics: [],
        paths,
      },
      undefined,
      async () => {},
    );
    await guest.monitor.run('cont');
    return guest;
  };
  const jobStatus = async (running: Guest) => ((await running.monitor.run('query-jobs')) as { status: string }[])[0]?.status;

  it('happens under the running guest, which then writes to the base alone', async () => {
    const running = await boot();
    await expect.poll(serial).toBeGreaterThan(10);
    await expect.poll(async () => await settleUnderGuest(volumes, 'v1', running, 0), { timeout: 10_000, interval: 20 }).toBe('settled');
    expect(await currentNode(running, 0)).toBe('disk0-base');
    expect(volumes.get('v1')?.stage).toBe('ready');
    expect(existsSync(volumes.files('v1').overlay)).toBe(false);
    const then = serial();
    await expect.poll(serial).toBeGreaterThan(then + 5);
    await quitGuest(running);
    const last = serial();
    await boot();
    await expect.poll(serial).toBeGreaterThan(last - 2);
  });

  it('holds the guest’s writes at the point where both are equal, until the record says which one counts', async () => {
    const running = await boot();
    await expect.poll(serial).toBeGreaterThan(10);
    const step = async () => {
      if ((await jobStatus(running)) !== 'pending') await settleUnderGuest(volumes, 'v1', running, 0);
      return await jobStatus(running);
    };
    await expect.poll(step, { timeout: 10_000, interval: 20 }).toBe('pending');
    await pause(100);
    const held = serial();
    await pause(300);
    expect(serial() - held).toBeLessThanOrEqual(1);
    expect(volumes.get('v1')?.stage).toBe('arrived');
    // The process dies here: the overlay counts, and nothing is lost.
    process.kill(running.process.pid, 'SIGKILL');
    await running.monitor.closed;
    await boot();
    await expect.poll(serial).toBeGreaterThan(held - 2);
  });

  it('goes on from the base when the process dies right after the record was written', async () => {
    const running = await boot();
    await expect.poll(serial).toBeGreaterThan(10);
    const step = async () => {
      if ((await jobStatus(running)) !== 'pending') await settleUnderGuest(volumes, 'v1', running, 0);
      return await jobStatus(running);
    };
    await expect.poll(step, { timeout: 10_000, interval: 20 }).toBe('pending');
    await volumes.update('v1', { stage: 'ready' });
    const held = serial();
    process.kill(running.process.pid, 'SIGKILL');
    await running.monitor.closed;
    await boot();
    await expect.poll(serial).toBeGreaterThan(held - 2);
  });

  it('can be done without a guest, and again after a cut', async () => {
    const running = await boot();
    await expect.poll(serial).toBeGreaterThan(10);
    await quitGuest(running);
    const last = serial();
    const cut = new AbortController();
    const first = settleOffline(volumes, 'v1', cut.signal);
    cut.abort();
    await first.catch(() => {});
    await settleOffline(volumes, 'v1', noAbort);
    expect(volumes.get('v1')?.stage).toBe('ready');
    await boot();
    await expect.poll(serial).toBeGreaterThan(last - 2);
  });
});
