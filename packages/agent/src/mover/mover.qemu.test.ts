import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { transferStreams } from '@virt8ra/contract';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { silentLog } from '../log.js';
import { hasCommand } from '../system/run-command.js';
import { spawnedMovers } from './spawn.js';
import { contentDigest, type HeardMover, MoverPair, seededBytes } from './testing/mover-pair.js';

const present = (await hasCommand('qemu-img')) && (await hasCommand('qemu-nbd'));
if (!present) process.stderr.write('skipped: qemu-img and qemu-nbd are not installed\n');

vi.setConfig({ testTimeout: 90_000 });
const mib = 1024 * 1024;
const streams = transferStreams;
const dataMiB = 80;
const sizeBytes = 128 * mib + 512;
const recordBytes = 48;
const { seed } = fc.readConfigureGlobal();
/** After how many chunks something is killed: these, or one that follows from the seed. */
const killPoints = (fixed: readonly number[], spread: number) => (seed === undefined ? fixed : [1 + ((seed * spread) % (dataMiB - 8))]);

describe.skipIf(!present)('a stopped guest’s disk', () => {
  let pair: MoverPair;
  let source: string;

  beforeEach(async () => {
    const folder = mkdtempSync(join(tmpdir(), 'v8m-'));
    pair = await MoverPair.make(folder, [sizeBytes]);
    source = join(folder, 'source.qcow2');
    const raw = join(folder, 'raw');
    writeFileSync(raw, seededBytes('cold', dataMiB * mib));
    execFileSync('truncate', ['-s', String(sizeBytes), raw]);
    execFileSync('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', raw, source]);
    execFileSync('rm', [raw]);
  });
  afterEach(async () => await pair.destroy());

  const send = (port: number) =>
    pair.send(port, { disks: [{ sizeBytes, node: '', files: [source] }], mode: { type: 'cold', runtimeDirectory: pair.runtimeDirectory } });
  const journal = () => join(pair.folder, 'beta', 'receive.journal');
  /** Returns when the receiver has journaled that many chunks. */
  const journaled = async (chunks: number) => {
    for (const end = performance.now() + 30_000; ; ) {
      const records = (statSync(journal(), { throwIfNoEntry: false })?.size ?? 0) / recordBytes;
      if (records >= chunks) return;
      if (performance.now() > end) throw new Error(`only ${records} records came`);
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  };
  const finish = async (sender: HeardMover, receiver: HeardMover) => {
    await sender.heard('converged');
    sender.mover.finish();
    const { roots } = await sender.heard('finished');
    expect(await receiver.heard('finished')).toMatchObject({ roots });
    await receiver.mover.exited;
    return roots;
  };
  const sentMiB = (mover: HeardMover) => (mover.counters?.bytes ?? 0) / mib;

  it('arrives whole; zeros and holes are not sent; both processes stay small', async () => {
    const receiver = pair.receive();
    const sender = send((await receiver.heard('listening')).port);
    await sender.heard('converged');
    expect(sender.peakMiB()).toBeLessThan(128);
    expect(receiver.peakMiB()).toBeLessThan(128);
    const [root] = await finish(sender, receiver);
    expect(contentDigest(pair.target(0))).toBe(contentDigest(source));
    expect(sentMiB(sender)).toBe(dataMiB);
    expect(sender.counters).toMatchObject({ resentBytes: 0, chunkBytes: mib, streams, passes: 1 });
    expect(receiver.counters).toMatchObject({ bytes: dataMiB * mib, resentBytes: 0 });
    const movers = spawnedMovers(silentLog);
    const read = await movers.digest(pair.target(0), sizeBytes, join(pair.folder, 'digests'), new AbortController().signal);
    expect(read).toEqual({ root, chunkBytes: mib });
    const gone = movers.digest(pair.target(0), sizeBytes, join(pair.folder, 'digests'), AbortSignal.abort());
    await expect(gone).rejects.toMatchObject({ kind: 'cancelled' });
    await expect(movers.digest(join(pair.folder, 'none'), 1, pair.folder, new AbortController().signal)).rejects.toMatchObject({
      kind: 'internal',
    });
  });

  it.each(killPoints([3, 17, 42, 71], 29))('goes on where it was when the receiver is killed after %i chunks', async (chunks) => {
    const first = pair.receive();
    const { port } = await first.heard('listening');
    const sender = send(port);
    await journaled(chunks);
    await first.murder();
    const second = pair.receive();
    expect((await second.heard('listening')).port).toBe(port);
    await finish(sender, second);
    expect(contentDigest(pair.target(0))).toBe(contentDigest(source));
    expect(sentMiB(sender)).toBeLessThanOrEqual(dataMiB + streams);
    expect(sender.counters?.resentBytes).toBe(sentMiB(sender) * mib - dataMiB * mib);
    expect(second.counters?.bytes).toBe(dataMiB * mib);
  });

  it.each(killPoints([5, 23, 44, 68], 31))('goes on where it was when the sender is killed after %i chunks', async (chunks) => {
    const receiver = pair.receive();
    const { port } = await receiver.heard('listening');
    const first = send(port);
    await journaled(chunks);
    await first.murder();
    const second = send(port);
    await finish(second, receiver);
    expect(contentDigest(pair.target(0))).toBe(contentDigest(source));
    // The ledger's counters go over both lives.
    expect(sentMiB(second)).toBeLessThanOrEqual(dataMiB + streams);
    expect(second.counters?.resentBytes).toBeLessThanOrEqual(streams * mib);
    expect(receiver.counters?.resentBytes).toBe(0);
  });

  it('believes only what was flushed when the image’s server was killed as well', async () => {
    const first = pair.receive();
    const { port } = await first.heard('listening');
    const sender = send(port);
    await journaled(40);
    const server = Number(readFileSync(join(pair.folder, 'beta-run', 'w0.pid'), 'utf8'));
    process.kill(first.mover.pid ?? 0, 'SIGSTOP');
    process.kill(server, 'SIGKILL');
    await first.murder();
    const second = pair.receive();
    await second.heard('listening');
    await finish(sender, second);
    execFileSync('qemu-img', ['check', '-q', '-f', 'qcow2', pair.target(0)], { stdio: 'ignore' });
    expect(contentDigest(pair.target(0))).toBe(contentDigest(source));
    expect(sentMiB(sender)).toBeGreaterThan(dataMiB + 30);
  });

  it('is not sent again where the target holds it already', async () => {
    execFileSync('cp', [source, pair.target(0)]);
    const receiver = pair.receive();
    const sender = send((await receiver.heard('listening')).port);
    await finish(sender, receiver);
    expect(sentMiB(sender)).toBe(0);
    expect(contentDigest(pair.target(0))).toBe(contentDigest(source));
  });

  it('is read through an overlay and its base alike', async () => {
    const overlay = join(pair.folder, 'overlay.qcow2');
    execFileSync('qemu-img', ['create', '-q', '-f', 'qcow2', '-F', 'qcow2', '-b', source, overlay]);
    execFileSync('qemu-io', ['-f', 'qcow2', '-c', 'write -P 7 1M 64k', '-c', 'write -z 3M 1M', overlay]);
    const receiver = pair.receive();
    const sender = pair.send((await receiver.heard('listening')).port, {
      disks: [{ sizeBytes, node: '', files: [overlay, source] }],
      mode: { type: 'cold', runtimeDirectory: pair.runtimeDirectory },
    });
    await finish(sender, receiver);
    expect(contentDigest(pair.target(0))).toBe(contentDigest(overlay));
    expect(sentMiB(sender)).toBe(dataMiB - 1);
  });

  it('stays as it was when the receiver’s disk is full, and both sides say so', async () => {
    const full = join(pair.folder, 'full');
    execFileSync('mkdir', [full]);
    try {
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=24m', 'tmpfs', full], { stdio: 'ignore' });
    } catch {
      process.stderr.write('skipped: mounting needs root\n');
      return;
    }
    try {
      const before = contentDigest(source);
      const file = join(full, 'target.qcow2');
      execFileSync('qemu-img', ['create', '-q', '-f', 'qcow2', file, String(sizeBytes)]);
      const receiver = pair.receive({ disks: [{ sizeBytes, file }] });
      const sender = send((await receiver.heard('listening')).port);
      expect(await receiver.heard('failed')).toMatchObject({ code: 'exhausted' });
      expect(await sender.heard('failed')).toMatchObject({
        code: 'exhausted',
        message: expect.stringMatching(/on the receiving host .* is full/),
      });
      await Promise.all([receiver.mover.exited, sender.mover.exited]);
      expect(contentDigest(source)).toBe(before);
    } finally {
      execFileSync('umount', ['-l', full]);
    }
  });

  it('is given to nobody but the peer, and taken from nobody else', async () => {
    const wrongSender = pair.receive({ peerName: 'gamma.agents.virt8ra.internal' });
    const refused = send((await wrongSender.heard('listening')).port);
    expect(await refused.heard('failed')).toMatchObject({ code: 'forbidden' });
    await wrongSender.mover.kill();
    const receiver = pair.receive();
    const { port } = await receiver.heard('listening');
    const cold = {
      disks: [{ sizeBytes, node: '', files: [source] }],
      mode: { type: 'cold', runtimeDirectory: pair.runtimeDirectory },
    } as const;
    const other = pair.send(port, { ...cold, peer: { name: 'gamma.agents.virt8ra.internal', address: '127.0.0.1', port } });
    expect(await other.heard('failed')).toMatchObject({ code: 'forbidden', message: expect.stringContaining('not gamma.') });
    await other.mover.exited;
    const another = pair.send(port, { ...cold, transferId: 'tra_other', directory: join(pair.folder, 'other') });
    expect(await another.heard('failed')).toMatchObject({ code: 'forbidden', message: expect.stringContaining('another transfer') });
    expect(statSync(journal()).size).toBe(2 * recordBytes);
  });

  it('is known to be finished by a mover that comes late', async () => {
    const receiver = pair.receive();
    const { port } = await receiver.heard('listening');
    const sender = send(port);
    const roots = await finish(sender, receiver);
    await sender.mover.exited;
    expect(await send(port).heard('finished')).toMatchObject({ roots });
  });

  it('is finished at once for a receiver that comes back after the end, which opens no disk and answers a late sender', async () => {
    const receiver = pair.receive();
    const { port } = await receiver.heard('listening');
    const sender = send(port);
    const roots = await finish(sender, receiver);
    await sender.mover.exited;
    // As if the sender had been cut off before it knew.
    rmSync(join(pair.folder, 'alpha', 'finished.json'));
    rmSync(pair.target(0));
    const back = pair.receive();
    expect(await back.heard('finished')).toMatchObject({ roots });
    const late = send(port);
    await late.heard('converged');
    late.mover.finish();
    expect(await late.heard('finished')).toMatchObject({ roots });
    await back.mover.exited;
  });

  it('waits for nobody for long', async () => {
    const sender = pair.send(1, {
      disks: [{ sizeBytes, node: '', files: [source] }],
      mode: { type: 'cold', runtimeDirectory: pair.runtimeDirectory },
    });
    expect(await sender.heard('failed')).toMatchObject({ code: 'unavailable' });
    await sender.mover.exited;
  });

  it('is let go by an abort on either side', async () => {
    const receiver = pair.receive();
    const sender = send((await receiver.heard('listening')).port);
    sender.mover.abort();
    await sender.heard('aborted');
    receiver.mover.abort();
    await receiver.heard('aborted');
    await Promise.all([receiver.mover.exited, sender.mover.exited]);
  });
});
