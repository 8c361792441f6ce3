import { existsSync, readFileSync, rmSync } from 'node:fs';
import { chown, rename, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openQuarantine } from '../disk/quarantine.js';
import { guestDisk } from '../instances/guest-starter.js';
import { silentLog } from '../log.js';
import { fingerprintFiles } from '../mover/cold-source.js';
import { contentDigest, MoverPair } from '../mover/testing/mover-pair.js';
import { type Guest, launchGuest, quitGuest } from '../qemu/guest.js';
import { guestUid } from '../qemu/guest-user.js';
import { dropDiskSnapshot, snapshotDisks } from '../snapshots/disk-snapshots.js';
import { hasCommand, runCommand } from '../system/run-command.js';
import { testFolder } from '../testing/agent-process.js';
import { counterFrom, tinyGuestBytes, tinyGuestImage } from '../testing/tiny-guest.js';
import { convertCompressed, convertImage, growImage } from './qemu-img.js';
import { settleUnderGuest } from './settle.js';
import { LoopBackEnd, noLoopDevices } from './testing/loop-back-end.js';
import { placeBytes } from './thin-pool-back-end.js';
import { VolumeStore } from './volume-store.js';

const qemu = (await hasCommand('qemu-system-x86_64')) && (await hasCommand('qemu-nbd'));
const lacking = qemu ? noLoopDevices() : 'qemu-system-x86_64 and qemu-nbd are not installed';
if (lacking !== undefined) process.stderr.write(`skipped: ${lacking}\n`);

const mib = 1024 * 1024;
const grownBytes = tinyGuestBytes + 8 * mib;

describe.skipIf(lacking !== undefined)('volumes on block devices', () => {
  let folder: string;
  let volumes: VolumeStore;
  let pair: MoverPair | undefined;
  let guest: Guest | undefined;
  const noAbort = new AbortController().signal;
  const open = async (backEnd?: LoopBackEnd) => await VolumeStore.open(join(folder, 'volumes'), openQuarantine(folder, silentLog), backEnd);
  const serial = () => counterFrom(readFileSync(join(folder, 'serial'), 'latin1'));

  beforeEach(async () => {
    folder = await testFolder();
    volumes = await open(new LoopBackEnd(folder));
  });
  afterEach(async () => {
    if (guest !== undefined) await quitGuest(guest);
    guest = undefined;
    for (const { key } of volumes.all()) await volumes.remove(key);
    await pair?.destroy();
    rmSync(folder, { recursive: true, force: true });
  });

  /** As an agent that is root starts it: under a user of its own, who has nothing but its disks. */
  const boot = async (key: string): Promise<Guest> => {
    const uid = guestUid('i1');
    const disk = await guestDisk(volumes, key);
    const seed = join(folder, 'seed');
    await writeFile(seed, Buffer.alloc(mib));
    await writeFile(join(folder, 'serial'), '');
    for (const path of [seed, join(folder, 'serial'), disk.base, ...(disk.overlay === undefined ? [] : [disk.overlay])])
      await chown(path, uid, uid);
    const run = (name: string) => join(folder, 'run', name);
    guest = await launchGuest(
      {
        ...{ architecture: 'amd64', launchId: 'test', instance: 'res_1', machine: 'q35', cpuModel: 'qemu64-v1', accelerator: 'tcg' },
        ...{ vCPU: 1, memoryMiB: 64, disks: [disk], seed, nics: [] },
        paths: {
          ...{
            qmp: run('q'),
            moverQmp: run('m'),
            console: run('t'),
            vnc: run('v'),
            agent: run('a'),
            pid: run('p'),
            log: join(folder, 'log'),
          },
          serial: join(folder, 'serial'),
        },
      },
      { uid, gid: uid },
      async () => {},
    );
    await guest.monitor.run('cont');
    await expect.poll(serial).toBeGreaterThan(5);
    return guest;
  };

  it('hold a disk from its image to its end: it boots, grows, keeps a snapshot, moves, is merged, copied and removed', async () => {
    const image = join(folder, 'image');
    await writeFile(image, tinyGuestImage());
    const { base } = await volumes.begin('v1', tinyGuestBytes);
    await volumes.makeBase('v1', `${base}.new`);
    await convertImage(image, 'raw', `${base}.new`, noAbort);
    await growImage(`${base}.new`, tinyGuestBytes);
    await rename(`${base}.new`, base);
    await volumes.update('v1', { stage: 'ready' });
    expect((await stat(base)).isBlockDevice()).toBe(true);
    const measured = await runCommand('qemu-img', ['measure', '--output=json', '-O', 'qcow2', '--size', String(2 ** 40)]);
    expect(placeBytes(2 ** 40)).toBeGreaterThan((JSON.parse(measured) as { 'fully-allocated': number })['fully-allocated']);

    const running = await boot('v1');
    const nodes = (await running.monitor.run('query-named-block-nodes', { flat: true })) as { 'node-name'?: string; drv: string }[];
    expect(nodes.find((node) => node['node-name'] === 'disk0-file')?.drv).toBe('host_device');
    await volumes.widen('v1', grownBytes - tinyGuestBytes);
    await running.monitor.run('block_resize', { 'node-name': 'disk0', size: grownBytes });
    await volumes.update('v1', { sizeBytes: grownBytes });
    await volumes.widen('v1', grownBytes);
    await snapshotDisks(running, [0], 'kept');
    await dropDiskSnapshot(running, 0, 'kept');
    const before = await fingerprintFiles([{ files: [base] }]);

    // To a disk that is a device as well, while the guest runs.
    await volumes.begin('v2', grownBytes);
    await volumes.makeBlank('v2');
    await volumes.update('v2', { stage: 'incoming' });
    const target = volumes.files('v2').base;
    pair = await MoverPair.make(folder, [grownBytes]);
    const receiver = pair.receive({ disks: [{ sizeBytes: grownBytes, file: target }] });
    const { port } = await receiver.heard('listening');
    const sender = pair.send(port, {
      disks: [{ sizeBytes: grownBytes, node: 'disk0', files: [] }],
      mode: { type: 'warm', qmpSocket: running.paths.moverQmp, runtimeDirectory: pair.runtimeDirectory },
    });
    await sender.heard('converged');
    sender.mover.finish();
    const { roots } = await sender.heard('finished');
    expect(await receiver.heard('finished')).toMatchObject({ roots });
    await receiver.mover.exited;
    await sender.mover.exited;
    const last = serial();
    await quitGuest(running);
    guest = undefined;
    expect(contentDigest(target)).toBe(contentDigest(base));
    expect(await fingerprintFiles([{ files: [base] }])).not.toBe(before);

    const copy = join(folder, 'copy.qcow2');
    await convertCompressed(base, copy, noAbort);
    expect(contentDigest(copy)).toBe(contentDigest(base));

    await volumes.arrive('v2');
    const { overlay } = volumes.files('v2');
    const moved = await boot('v2');
    expect(serial()).toBeGreaterThanOrEqual(last);
    await expect.poll(async () => await settleUnderGuest(volumes, 'v2', moved, 0), { timeout: 20_000, interval: 20 }).toBe('settled');
    expect(existsSync(overlay)).toBe(false);
    const left = (await moved.monitor.run('query-named-block-nodes', { flat: true })) as { 'node-name'?: string }[];
    expect(left.map((node) => node['node-name']).filter((name) => name?.startsWith('disk'))).toEqual(['disk0-base', 'disk0-base-file']);
    const merged = serial();
    await expect.poll(serial).toBeGreaterThan(merged + 5);
    expect(await volumes.allocatedBytes('v2')).toBeGreaterThan(2 * mib);
    await quitGuest(moved);
    guest = undefined;
    expect(await runCommand('qemu-img', ['check', '-f', 'qcow2', target])).toContain('No errors were found');

    // A later agent finds them where they are, and one that was told otherwise touches nothing.
    volumes = await open(new LoopBackEnd(folder));
    expect(volumes.all().map(({ key, stage }) => [key, stage])).toEqual([
      ['v1', 'ready'],
      ['v2', 'ready'],
    ]);
    await expect(open()).rejects.toMatchObject({ kind: 'invalid-request', message: expect.stringContaining('one back end') });
    await volumes.remove('v1');
    await volumes.remove('v2');
    expect(await runCommand('losetup', ['--noheadings', '--list', '--output', 'BACK-FILE'])).not.toContain(folder);
  });
});
