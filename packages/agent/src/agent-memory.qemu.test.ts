import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { hasCommand } from './system/run-command.js';
import { imageVolume } from './testing/desired-objects.js';
import { type OneAgent, prepareAgent } from './testing/one-agent.js';

const present = await hasCommand('qemu-img');
if (!present) process.stderr.write('skipped: qemu-img is not installed\n');

const mib = 1024 ** 2;
/** What an idle agent may take. */
const limitMiB = 80;
/** What the fetch may leave behind of that. */
const leftMiB = 4;

describe.skipIf(!present)('an agent that has nothing to do', () => {
  let plane: OneAgent['plane'];
  let agent: OneAgent['agent'];
  let end: OneAgent['end'];

  beforeEach(async () => {
    ({ plane, agent, end } = await prepareAgent());
  });
  afterEach(async (test) => await end(test));

  const size = (name: 'VmRSS' | 'VmHWM') =>
    Number(new RegExp(`${name}:\\s+(\\d+)`).exec(readFileSync(`/proc/${agent.pid}/status`, 'utf8'))?.[1]) / 1024;

  it('is as small after it fetched a large image as before', async () => {
    agent.start();
    await plane.until('it is connected', () => plane.view('alpha').inventory);
    await pause(3_000);
    const before = size('VmRSS');
    const image = plane.addArtifact(randomBytes(512 * mib));
    plane.want('alpha', { volumes: [imageVolume('v1', image, image.bytes)] });
    await plane.until('the volume is made', () => plane.view('alpha').volumes.get('v1')?.state === 'ready', 60_000);
    const sizes = { before, after: size('VmRSS'), peak: size('VmHWM') };
    process.stderr.write(`an agent's resident sizes around the fetch of 512 MiB: ${JSON.stringify(sizes)} MiB\n`);
    expect(sizes.after).toBeLessThan(limitMiB);
    expect(sizes.after).toBeLessThan(sizes.before + leftMiB);
  }, 90_000);
});
