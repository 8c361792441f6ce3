import { execFileSync } from 'node:child_process';
import { mkdtempSync, statfsSync, writeFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { hasCommand } from '../system/run-command.js';
import { mountSmallDisk, noSmallDisk } from '../testing/small-disk.js';
import { MoverPair, seededBytes } from './testing/mover-pair.js';

const present = (await hasCommand('qemu-img')) && (await hasCommand('qemu-nbd'));
const reason = present ? noSmallDisk() : 'qemu-img and qemu-nbd are not installed';
if (reason !== undefined) process.stderr.write(`skipped: ${reason}\n`);

vi.setConfig({ testTimeout: 60_000 });
const mib = 1024 * 1024;

describe.skipIf(reason !== undefined)('movers whose target has too little room', () => {
  let folder: string;
  let pair: MoverPair;
  let unmount: () => void;
  const small = () => join(folder, 'small');
  const source = () => join(folder, 'source.qcow2');

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'v8f-'));
    unmount = mountSmallDisk(small(), 32 * mib);
    pair = await MoverPair.make(folder, [64 * mib]);
    execFileSync('qemu-img', ['create', '-q', '-f', 'qcow2', join(small(), 'target.qcow2'), String(64 * mib)]);
    const raw = join(folder, 'source.raw');
    writeFileSync(raw, seededBytes('full', 64 * mib));
    execFileSync('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', raw, source()]);
  });
  afterEach(async () => {
    unmount();
    await pair.destroy();
  });

  const begin = async () => {
    const receiver = pair.receive({
      directory: join(small(), 'beta'),
      disks: [{ sizeBytes: 64 * mib, file: join(small(), 'target.qcow2') }],
    });
    const { port } = await receiver.heard('listening');
    const sender = pair.send(port, {
      mode: { type: 'cold', runtimeDirectory: pair.runtimeDirectory },
      disks: [{ sizeBytes: 64 * mib, node: '', files: [source()] }],
    });
    return { receiver, sender };
  };

  it('say so at both ends, with figures, while the host can still write', async () => {
    const { receiver, sender } = await begin();
    await Promise.all([receiver.mover.exited, sender.mover.exited]);
    for (const { notices } of [receiver, sender]) {
      expect(notices.at(-1)).toMatchObject({ type: 'failed', code: 'exhausted' });
      expect(notices.at(-1)).toMatchObject({
        message: expect.stringMatching(
          /on the receiving host .* is full: [\d.]+ MiB of 32\.0 MiB are free, up to [\d.]+ MiB more are needed/,
        ),
      });
    }
    const { bavail, bsize } = statfsSync(small());
    expect(bavail * bsize).toBeGreaterThan(mib / 2);
  });

  it('say the same when someone else takes the last bytes', async () => {
    // The look at the room believes half of what is free; the rest is gone behind its back.
    const { receiver, sender } = await begin();
    await receiver.heard('counters', ({ bytes }) => bytes > 0);
    const fill = join(small(), 'fill');
    expect(() => writeFileSync(fill, Buffer.alloc(32 * mib))).toThrow('ENOSPC');
    await Promise.all([receiver.mover.exited, sender.mover.exited]);
    for (const { notices } of [receiver, sender]) expect(notices.at(-1)).toMatchObject({ type: 'failed', code: 'exhausted' });
    await rm(fill);
  });

  it('go on where they were when there is room again', async () => {
    const { receiver, sender } = await begin();
    await Promise.all([receiver.mover.exited, sender.mover.exited]);
    execFileSync('mount', ['-o', `remount,size=${128 * mib}`, small()]);
    const next = await begin();
    await next.sender.heard('converged');
    next.sender.mover.finish();
    const { roots } = await next.sender.heard('finished');
    expect((await next.receiver.heard('finished')).roots).toEqual(roots);
    // Less than all was sent by the second pair.
    expect((next.sender.counters?.bytes ?? 0) / mib).toBeLessThan(80);
  });
});
