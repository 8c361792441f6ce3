import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { hasCommand } from '../system/run-command.js';
import type { SeedSource } from '../transfer/mover-port.js';
import { contentDigest, type HeardMover, MoverPair, seededBytes } from './testing/mover-pair.js';

const present = (await hasCommand('qemu-img')) && (await hasCommand('qemu-nbd'));
if (!present) process.stderr.write('skipped: qemu-img and qemu-nbd are not installed\n');

vi.setConfig({ testTimeout: 90_000 });
const mib = 1024 * 1024;
const sharedMiB = 24;
const sizeBytes = 48 * mib + 512;

describe.skipIf(!present)('a disk that arrives where a similar one is', () => {
  let pair: MoverPair;
  let folder: string;
  let source: string;

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'v8s-'));
    pair = await MoverPair.make(folder, [sizeBytes]);
    source = join(folder, 'source.qcow2');
    // Of the image it has all but two chunks, of which one is gone, and one of its own far behind the image's end.
    image('source', 'qcow2', sizeBytes);
    execFileSync('qemu-io', ['-f', 'qcow2', '-c', 'write -P 7 5M 64k', '-c', 'write -z 9M 1M', '-c', 'write -P 8 40M 1M', source]);
  });
  afterEach(async () => await pair.destroy());

  function image(name: string, format: 'raw' | 'qcow2', bytes: number): string {
    const raw = join(folder, 'made');
    writeFileSync(raw, seededBytes('shared', sharedMiB * mib));
    truncateSync(raw, bytes);
    const file = join(folder, `${name}.${format}`);
    execFileSync('qemu-img', ['convert', '-f', 'raw', '-O', format, raw, file]);
    rmSync(raw);
    return file;
  }
  const receive = (seed: SeedSource) => pair.receive({ disks: [{ sizeBytes, file: pair.target(0), seed }] });
  const sentMiB = async (receiver: HeardMover): Promise<number> => {
    const { port } = await receiver.heard('listening');
    const disks = [{ sizeBytes, node: '', files: [source] }];
    const sender = pair.send(port, { disks, mode: { type: 'cold', runtimeDirectory: pair.runtimeDirectory } });
    await sender.heard('converged');
    sender.mover.finish();
    const { roots } = await sender.heard('finished');
    expect(await receiver.heard('finished')).toMatchObject({ roots });
    await receiver.mover.exited;
    expect(contentDigest(pair.target(0))).toBe(contentDigest(source));
    return (sender.counters?.bytes ?? 0) / mib;
  };

  it('begins as it, is sent only what differs, and leaves it as it was; a receiver that is killed says the same again', async () => {
    const seed = image('image', 'raw', sharedMiB * mib - 512);
    const before = execFileSync('sha256sum', [seed], { encoding: 'utf8' });
    const first = receive({ files: [seed], format: 'raw' });
    const { seeds } = await first.heard('listening');
    expect(seeds).toEqual([{ bytes: sharedMiB * mib }]);
    await first.murder();
    const second = receive({ files: [seed], format: 'raw' });
    expect(await second.heard('listening')).toMatchObject({ seeds });
    // What changed, what lies behind, and the chunk that the image's last one is cut in; zeros cost nothing.
    expect(await sentMiB(second)).toBe(3);
    expect(execFileSync('sha256sum', [seed], { encoding: 'utf8' })).toBe(before);
  });

  it('begins as the overlay and base of a disk that another process writes to', async () => {
    const base = image('sibling', 'qcow2', sizeBytes);
    const overlay = join(folder, 'overlay.qcow2');
    execFileSync('qemu-img', ['create', '-q', '-f', 'qcow2', '-F', 'qcow2', '-b', base, overlay]);
    execFileSync('qemu-io', ['-f', 'qcow2', '-c', 'write -P 7 5M 64k', '-c', 'write -P 9 30M 3M', overlay]);
    const socket = join(folder, 'writer');
    execFileSync('qemu-nbd', ['--fork', '--persistent', '--socket', socket, '--pid-file', join(folder, 'pid'), '-f', 'qcow2', overlay]);
    try {
      const receiver = receive({ files: [overlay, base], format: 'qcow2' });
      expect(await receiver.heard('listening')).toMatchObject({ seeds: [{ bytes: (sharedMiB + 3) * mib }] });
      expect(await sentMiB(receiver)).toBe(1);
    } finally {
      process.kill(Number(execFileSync('cat', [join(folder, 'pid')], { encoding: 'utf8' })));
    }
  });

  it('is sent whole, and says why, where the seed is gone, damaged or no image', async () => {
    const gone = receive({ problem: { code: 'not-found', message: 'it is gone' } });
    expect(await gone.heard('listening')).toMatchObject({ seeds: [{ bytes: 0, problem: { code: 'not-found' } }] });
    await gone.murder();
    rmSync(join(folder, 'beta'), { recursive: true });
    const damaged = image('damaged', 'qcow2', sizeBytes);
    // Its tables point behind its end, or into the middle of something else: what can be read is not what it was.
    truncateSync(damaged, 10 * mib);
    const receiver = receive({ files: [damaged], format: 'qcow2' });
    const { seeds } = await receiver.heard('listening');
    expect(seeds?.[0]?.bytes).toBeLessThan(sharedMiB * mib);
    const sent = await sentMiB(receiver);
    expect(sent).toBeGreaterThan(sharedMiB / 3);
    expect(sent).toBeLessThanOrEqual(sharedMiB + 1);
  });
});
