import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { silentLog } from '../log.js';
import { hasCommand } from '../system/run-command.js';
import { spawnedMovers } from './spawn.js';
import { MoverPair } from './testing/mover-pair.js';

const present = (await hasCommand('qemu-img')) && (await hasCommand('qemu-nbd')) && (await hasCommand('qemu-io'));
if (!present) process.stderr.write('skipped: qemu-img, qemu-nbd and qemu-io are not installed\n');

const gib = 1024 ** 3;
const sizeBytes = 4096 * gib;
/** What a mover may take, however large the disks are. */
const limitMiB = 128;
/** Spread over the whole disk, so that almost every page of digests is in use. */
const pieces = 512;

describe.skipIf(!present)('a disk of 4 TiB', () => {
  let pair: MoverPair;
  const source = () => join(pair.folder, 'source.qcow2');

  beforeEach(async () => {
    pair = await MoverPair.make(mkdtempSync(join(tmpdir(), 'v8m-')), [sizeBytes]);
    execFileSync('qemu-img', ['create', '-q', '-f', 'qcow2', source(), String(sizeBytes)]);
    const writes = Array.from({ length: pieces }, (_, index) => `write -q -P ${1 + (index % 255)} ${(8 * index + 1) * gib} 64k`);
    execFileSync('qemu-io', ['-f', 'qcow2', source()], { input: `${writes.join('\n')}\n`, stdio: ['pipe', 'ignore', 'inherit'] });
  });
  afterEach(async () => await pair.destroy());

  it('is sent, received and read again in little memory', async () => {
    const receiver = pair.receive();
    const { port } = await receiver.heard('listening');
    const sender = pair.send(port, {
      disks: [{ sizeBytes, node: '', files: [source()] }],
      mode: { type: 'cold', runtimeDirectory: pair.runtimeDirectory },
    });
    await sender.heard('converged');
    const peaks = { sender: sender.peakMiB(), receiver: receiver.peakMiB() };
    sender.mover.finish();
    const { roots } = await sender.heard('finished');
    expect((await receiver.heard('finished')).roots).toEqual(roots);
    expect(sender.counters?.bytes).toBe(pieces * 1024 ** 2);
    process.stderr.write(`peak resident sizes for a disk of 4 TiB: ${JSON.stringify(peaks)} MiB\n`);
    expect(peaks.sender).toBeLessThan(limitMiB);
    expect(peaks.receiver).toBeLessThan(limitMiB);
    const { digest } = spawnedMovers(silentLog);
    const { root } = await digest(pair.target(0), sizeBytes, join(pair.folder, 'digests'), new AbortController().signal);
    expect([root]).toEqual(roots);
    expect(readdirSync(join(pair.folder, 'digests'))).toEqual([]);
  }, 240_000);
});
