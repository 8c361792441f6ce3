import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { hasCommand } from '../system/run-command.js';
import { BareQemu } from './testing/bare-qemu.js';
import { contentDigest, type HeardMover, MoverPair, seededBytes } from './testing/mover-pair.js';

const present = (await hasCommand('qemu-system-x86_64')) && (await hasCommand('qemu-nbd'));
if (!present) process.stderr.write('skipped: qemu-system-x86_64 and qemu-nbd are not installed\n');

vi.setConfig({ testTimeout: 90_000 });
const mib = 1024 * 1024;
const sizeBytes = 64 * mib + 4096;

/** First bytes of the journal's records; 5 is the end. */
function recordTypes(path: string): number[] {
  const bytes = readFileSync(path);
  return Array.from({ length: Math.floor(bytes.length / 48) }, (_, index) => bytes.readUInt8(index * 48));
}

describe.skipIf(!present)('a guest that runs while its disks are sent', () => {
  let qemu: BareQemu;
  let pair: MoverPair;

  beforeEach(async () => {
    const folder = mkdtempSync(join(tmpdir(), 'v8p-'));
    pair = await MoverPair.make(folder, [sizeBytes, sizeBytes]);
    qemu = await BareQemu.start(folder, 2, sizeBytes, (disk) => seededBytes(`disk ${disk}`, 24 * mib));
  });
  afterEach(async () => {
    await qemu.stop();
    await pair.destroy();
  });

  const disks = () => qemu.nodes.map((node) => ({ sizeBytes, node, files: [] }));
  const send = (port: number) =>
    pair.send(port, { disks: disks(), mode: { type: 'warm', qmpSocket: qemu.moverSocket, runtimeDirectory: pair.runtimeDirectory } });
  const passEnded = async (sender: HeardMover, pass: number) => await sender.heard('counters', ({ passes }) => passes > pass);
  const quit = async () => {
    await qemu.monitor.run('quit').catch(() => {});
    await qemu.stop();
  };
  const equal = () => {
    for (const [disk, file] of qemu.files.entries()) expect(contentDigest(pair.target(disk))).toBe(contentDigest(file));
  };

  it('arrives whole, with a short pause, and stays stopped', async () => {
    const receiver = pair.receive();
    const { port } = await receiver.heard('listening');
    const sender = send(port);
    await passEnded(sender, 0);
    await qemu.write(0, 30 * mib, seededBytes('later', 2 * mib));
    await qemu.write(1, 64 * mib, seededBytes('tail', 4096));
    await sender.heard('converged');
    await qemu.write(0, 5 * mib + 512, seededBytes('last', 1024));
    sender.mover.finish();
    const finished = await sender.heard('finished');
    expect(finished.pauseMs).toBeLessThan(1_000);
    expect(await receiver.heard('finished')).toMatchObject({ roots: finished.roots });
    expect(await qemu.status()).toBe('paused');
    await receiver.mover.exited;
    await sender.mover.exited;
    await quit();
    equal();
    expect(sender.counters?.resentBytes).toBe(0);
    // 48 MiB at first, then only what changed.
    expect(sender.counters?.bytes).toBeLessThan(54 * mib);
  });

  it('runs on as if nothing had been when the transfer is aborted', async () => {
    const receiver = pair.receive();
    const sender = send((await receiver.heard('listening')).port);
    await sender.heard('converged');
    expect(await qemu.leftovers()).not.toEqual([]);
    sender.mover.abort();
    await sender.heard('aborted');
    expect(await qemu.leftovers()).toEqual([]);
    expect(await qemu.status()).toBe('running');
    receiver.mover.abort();
    await receiver.heard('aborted');
  });

  it('is sent on by another mover when the first was killed within a pass; no change is lost', async () => {
    const receiver = pair.receive();
    const { port } = await receiver.heard('listening');
    const first = send(port);
    await first.heard('converged');
    // A pass that is cut in the middle: the receiver stands still while it begins.
    const receiverPid = receiver.mover.pid ?? 0;
    process.kill(receiverPid, 'SIGSTOP');
    await qemu.write(0, 40 * mib, seededBytes('cut pass', 6 * mib));
    await vi.waitFor(async () => expect((await qemu.leftovers()).some((name) => /-f[1-9]\d*-/.test(name))).toBe(true), 10_000);
    await first.murder();
    process.kill(receiverPid, 'SIGCONT');
    await qemu.write(1, 50 * mib, seededBytes('between', mib));
    const second = send(port);
    await second.heard('converged');
    second.mover.finish();
    await second.heard('finished');
    await receiver.heard('finished');
    await receiver.mover.exited;
    expect(second.counters?.resentBytes).toBeLessThanOrEqual(4 * mib);
    await quit();
    equal();
  });

  it('answers a mover that comes late with what is known, when nothing changed since', async () => {
    const receiver = pair.receive();
    const { port } = await receiver.heard('listening');
    const sender = send(port);
    await sender.heard('converged');
    sender.mover.finish();
    const { roots } = await sender.heard('finished');
    await receiver.heard('finished');
    await sender.mover.exited;
    const again = send(port);
    expect(await again.heard('finished')).toMatchObject({ roots });
  });

  it('is finished by another mover when the first was killed between the receiver’s last word and its own', async () => {
    const receiver = pair.receive();
    const { port } = await receiver.heard('listening');
    const first = send(port);
    await first.heard('converged');
    await qemu.write(0, 40 * mib, seededBytes('at the end', mib));
    first.mover.finish();
    await vi.waitFor(() => expect(recordTypes(join(pair.folder, 'beta', 'receive.journal'))).toContain(5), {
      timeout: 20_000,
      interval: 1,
    });
    await first.murder();
    const second = send(port);
    await Promise.race([second.heard('converged'), second.heard('finished')]);
    second.mover.finish();
    const { roots } = await second.heard('finished');
    expect(await receiver.heard('finished')).toMatchObject({ roots });
    await receiver.mover.exited;
    await quit();
    equal();
  });

  it('is given back within seconds when the receiver falls silent while the guest is stopped', async () => {
    const receiver = pair.receive();
    const { port } = await receiver.heard('listening');
    const sender = send(port);
    await sender.heard('converged');
    const pid = receiver.mover.pid ?? 0;
    sender.mover.finish();
    process.kill(pid, 'SIGSTOP');
    const begin = performance.now();
    expect(await sender.heard('failed')).toMatchObject({ code: 'unavailable' });
    expect(performance.now() - begin).toBeLessThan(25_000);
    process.kill(pid, 'SIGCONT');
    await sender.mover.exited;
    const again = send(port);
    await again.heard('converged');
    again.mover.finish();
    await again.heard('finished');
    await receiver.heard('finished');
    await receiver.mover.exited;
    await quit();
    equal();
  });

  it('is stopped by nobody when there is no room to freeze its disks', async () => {
    const small = join(pair.folder, 'alpha');
    execFileSync('mkdir', ['-p', small]);
    try {
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64m', 'tmpfs', small], { stdio: 'ignore' });
    } catch {
      process.stderr.write('skipped: mounting needs root\n');
      return;
    }
    try {
      const receiver = pair.receive();
      const sender = send((await receiver.heard('listening')).port);
      expect(await sender.heard('failed')).toMatchObject({ code: 'exhausted' });
      expect(await qemu.status()).toBe('running');
      await sender.mover.exited;
    } finally {
      execFileSync('umount', ['-l', small]);
    }
  });
});
