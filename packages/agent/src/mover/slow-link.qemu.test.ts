import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { hasCommand } from '../system/run-command.js';
import { MoverPair, seededBytes } from './testing/mover-pair.js';
import { openShapingProxy, type ShapingProxy } from './testing/shaping-proxy.js';

const present = (await hasCommand('qemu-img')) && (await hasCommand('qemu-nbd'));
if (!present) process.stderr.write('skipped: qemu-img and qemu-nbd are not installed\n');

vi.setConfig({ testTimeout: 90_000 });
const mib = 1024 * 1024;
const sizeBytes = 1024 ** 4;

describe.skipIf(!present)('a disk of a TiB with a little in it, over a slow link', () => {
  let pair: MoverPair;
  let source: string;
  let proxy: ShapingProxy | undefined;

  beforeEach(async () => {
    const folder = mkdtempSync(join(tmpdir(), 'v8w-'));
    pair = await MoverPair.make(folder, [sizeBytes]);
    source = join(folder, 'source.qcow2');
    const raw = join(folder, 'raw');
    // Half of it repeats every 4 KiB and half is noise.
    const noise = seededBytes('noise', 3 * mib);
    const words = Buffer.concat(Array.from({ length: 2560 }, (_, index) => Buffer.alloc(4096, `this is line ${index % 7} of so many `)));
    writeFileSync(raw, Buffer.concat([words, noise]));
    truncateSync(raw, sizeBytes);
    execFileSync('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', raw, source]);
    rmSync(raw);
  });
  afterEach(async () => {
    proxy?.close();
    await pair.destroy();
  });

  it('is compressed where that helps, is told what is held in a few bytes, and arrives whole though bits flip on the way', async () => {
    const receiver = pair.receive();
    const { port } = await receiver.heard('listening');
    proxy = await openShapingProxy({ host: '127.0.0.1', port }, 3 * mib);
    proxy.flipNext();
    const disks = [{ sizeBytes, node: '', files: [source] }];
    const sender = pair.send(proxy.port, { disks, mode: { type: 'cold', runtimeDirectory: pair.runtimeDirectory } });
    await sender.heard('converged');
    expect(sender.peakMiB()).toBeLessThan(160);
    expect(receiver.peakMiB()).toBeLessThan(160);
    sender.mover.finish();
    const { roots } = await sender.heard('finished');
    expect(await receiver.heard('finished')).toMatchObject({ roots });
    expect(sender.counters?.bytes).toBeGreaterThanOrEqual(13 * mib);
    // What was cut in the middle, and no more.
    expect(sender.counters?.resentBytes).toBeGreaterThanOrEqual(mib);
    expect(sender.counters?.resentBytes).toBeLessThanOrEqual(4 * mib);
    expect(sender.counters?.wireBytes).toBeLessThan(8 * mib);
    expect(receiver.counters?.bytes).toBe(13 * mib);
    // Digests of a TiB of zeros would be 32 MiB.
    expect(proxy.back).toBeLessThan(mib);
    expect(compared(pair.target(0), source)).toBe(true);
  });
});

function compared(one: string, other: string): boolean {
  try {
    execFileSync('qemu-img', ['compare', '-q', '-f', 'qcow2', '-F', 'qcow2', one, other]);
    return true;
  } catch {
    return false;
  }
}
