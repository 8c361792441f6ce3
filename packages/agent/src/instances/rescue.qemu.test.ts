import { createHash } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { hasCommand, runCommand } from '../system/run-command.js';
import { imageVolume, smallInstance } from '../testing/desired-objects.js';
import { type OneAgent, prepareAgent } from '../testing/one-agent.js';
import { counterFrom, tinyGuestBytes, tinyGuestImage } from '../testing/tiny-guest.js';

const qemu = (await hasCommand('qemu-system-x86_64')) && (await hasCommand('qemu-img'));
if (!qemu) process.stderr.write('skipped: qemu-system-x86_64 and qemu-img are not installed\n');

const permit = { epoch: 1, holder: 'alpha' };
const digestOf = (content: Buffer) => createHash('sha256').update(content).digest('hex');
/** The counter that the guest of the rescue image begins with: it tells from which disk a guest has booted. */
const rescueCounter = 0x5000_0000;

describe.skipIf(!qemu)('an instance in rescue', () => {
  let plane: OneAgent['plane'];
  let agent: OneAgent['agent'];
  let end: OneAgent['end'];

  beforeEach(async () => {
    ({ plane, agent, end } = await prepareAgent());
  });
  afterEach(async (test) => await end(test));

  it('boots from the other disk, as often as it must, leaves its own as they are, and boots from its own again', async () => {
    const other = tinyGuestImage();
    other.writeUInt32LE(rescueCounter, 8 * 512);
    const volumes = [
      imageVolume('v1', plane.addArtifact(tinyGuestImage()), tinyGuestBytes),
      imageVolume('r1', plane.addArtifact(other), tinyGuestBytes),
    ];
    const own = (restarts: number, change = {}) => smallInstance('i1', 'v1', permit, { restarts, ...change });
    const serial = () => `${agent.state}/instances/i1/guest/serial.log`;
    const counter = () => (existsSync(serial()) ? counterFrom(readFileSync(serial(), 'latin1')) : 0);
    const seen = () => plane.view('alpha').instances.get('i1');
    const contentOf = async (volume: string) => {
      const raw = `${agent.state}/${volume}.raw`;
      await runCommand('qemu-img', ['convert', '-U', '-O', 'raw', `${agent.state}/volumes/${volume}/base.qcow2`, raw]);
      return readFileSync(raw);
    };
    plane.want('alpha', { volumes, instances: [own(0)] });
    agent.start();
    await plane.until('it counts on its own disk', () => counter() > 20 && counter() < rescueCounter);
    expect(seen()?.rescue).toBeUndefined();
    plane.want('alpha', { instances: [own(0, { power: 'off', stopSeconds: 0 })] });
    await plane.until('it is off', () => seen()?.state === 'stopped');
    const before = await contentOf('v1');

    plane.want('alpha', { instances: [own(1, { rescueVolumeKey: 'r1' })] });
    await plane.until('it counts on the other disk', () => counter() > rescueCounter + 20);
    const { pid } = await plane.until('it says so', () => (seen()?.rescue === undefined ? undefined : seen()));
    expect(seen()).toMatchObject({ state: 'running', rescue: { volumeKey: 'r1' }, disks: [{ volumeKey: 'v1', state: 'attached' }] });

    // What it remembered is damaged while it was away: its process tells.
    await agent.stop('SIGKILL');
    plane.view('alpha').instances.clear();
    writeFileSync(`${agent.state}/instances/i1/instance.json`, '{');
    agent.start();
    await plane.until('it is found again, in rescue', () => seen()?.rescue?.volumeKey === 'r1' && seen()?.pid === pid);
    process.kill(pid ?? Number.NaN, 'SIGKILL');
    await plane.until(
      'a guest that died is in rescue again',
      () => seen()?.state === 'running' && seen()?.rescue !== undefined && seen()?.pid !== pid,
    );
    expect(digestOf(await contentOf('v1'))).toBe(digestOf(before));

    // The disk that it booted from stays while the guest has it, whatever is desired.
    plane.want('alpha', { volumes: volumes.slice(0, 1), instances: [own(2, { stopSeconds: 0 })] });
    await plane.until(
      'it is gone with the guest',
      () => !plane.view('alpha').volumes.has('r1') && !existsSync(`${agent.state}/volumes/r1`),
    );
    const kept = before.readUInt32LE(8 * 512);
    await plane.until('it counts on from where its own disk was', () => counter() > kept && counter() < kept + 100_000);
    expect(seen()?.rescue).toBeUndefined();
    expect(plane.faults).toEqual([]);
  });
});
