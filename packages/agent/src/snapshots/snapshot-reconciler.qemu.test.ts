import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { hasCommand, runCommand } from '../system/run-command.js';
import { blankVolume, imageVolume, smallInstance } from '../testing/desired-objects.js';
import { type OneAgent, prepareAgent } from '../testing/one-agent.js';
import { counterFrom, tinyGuestBytes, tinyGuestImage } from '../testing/tiny-guest.js';
import { fileHasSnapshot, nameInFile } from './disk-snapshots.js';

const qemu = (await hasCommand('qemu-system-x86_64')) && (await hasCommand('qemu-img'));
if (!qemu) process.stderr.write('skipped: qemu-system-x86_64 and qemu-img are not installed\n');

const mib = 1024 * 1024;
const permit = { epoch: 1, holder: 'alpha' };

describe.skipIf(!qemu)('a snapshot', () => {
  let plane: OneAgent['plane'];
  let agent: OneAgent['agent'];
  let end: OneAgent['end'];

  beforeEach(async () => {
    ({ plane, agent, end } = await prepareAgent());
  });
  afterEach(async (test) => await end(test));

  const fileOf = (key: string) => join(agent.state, 'volumes', key, 'base.qcow2');
  const seen = (key: string) => plane.view('alpha').snapshots.get(key);

  it('of a running guest is in all its disks at one moment; they become what they were once it is off, over a killed agent, and it goes', async () => {
    const image = plane.addArtifact(tinyGuestImage());
    const volumes = [imageVolume('v1', image, tinyGuestBytes), blankVolume('v2', 8 * mib)];
    const running = smallInstance('i1', 'v1', permit, { volumeKeys: ['v1', 'v2'] });
    const off = { ...running, power: 'off' as const };
    const s1 = { key: 's1', volumes: [{ volumeKey: 'v1' }, { volumeKey: 'v2' }] };
    const counter = () => counterFrom(agent.serial('i1'));
    plane.want('alpha', { volumes, instances: [running] });
    agent.start();
    await plane.until('the guest counts', () => (plane.view('alpha').instances.get('i1')?.boot?.serialBytes ?? 0) > 100);
    const before = counter();
    plane.want('alpha', { snapshots: [s1] });
    const taken = await plane.until('it is taken', () => (seen('s1')?.state === 'taken' ? seen('s1') : undefined));
    const after = counter();
    expect(taken).toMatchObject({ consistency: 'crash', volumes: [{ sizeBytes: tinyGuestBytes }, { sizeBytes: 8 * mib }] });
    await expect.poll(counter, { timeout: 20_000 }).toBeGreaterThan(after + 20);

    // Its disk may grow, and it stays what it is.
    plane.want('alpha', { volumes: [imageVolume('v1', image, tinyGuestBytes + 8 * mib), ...volumes.slice(1)] });
    await plane.until('its disk grows', () => plane.view('alpha').volumes.get('v1')?.sizeBytes === tinyGuestBytes + 8 * mib);
    plane.want('alpha', { snapshots: [{ ...s1, reverts: 1 }] });
    await plane.until('it waits for the guest to be off', () => seen('s1')?.state === 'reverting' && seen('s1')?.waitingFor);
    await agent.stop('SIGKILL');
    plane.view('alpha').snapshots.clear();
    plane.want('alpha', { instances: [off] });
    agent.start();
    await plane.until('the disks are what they were', () => seen('s1')?.reverted === 1 && seen('s1')?.state === 'taken');
    await plane.until('and as large as is wanted', () => plane.view('alpha').volumes.get('v1')?.sizeBytes === tinyGuestBytes + 8 * mib);
    const raw = join(agent.folder, 'raw');
    await runCommand('qemu-img', ['convert', '-f', 'qcow2', '-O', 'raw', fileOf('v1'), raw]);
    const kept = readFileSync(raw).readUInt32LE(8 * 512);
    expect(kept).toBeGreaterThanOrEqual(before);
    expect(kept).toBeLessThanOrEqual(after);

    plane.want('alpha', { snapshots: [], instances: [running] });
    await plane.until('it is forgotten', () => !existsSync(`${agent.state}/snapshots/s1.json`));
    await plane.until('the guest runs again', () => plane.view('alpha').instances.get('i1')?.state === 'running');
    plane.want('alpha', { instances: [off] });
    await plane.until('it is off', () => plane.view('alpha').instances.get('i1')?.state === 'stopped');
    for (const key of ['v1', 'v2']) expect(await fileHasSnapshot(fileOf(key), nameInFile('s1'))).toBe(false);
    expect(await runCommand('qemu-img', ['check', '-f', 'qcow2', fileOf('v1')])).toContain('No errors were found');
    expect(plane.faults).toEqual([]);
  });
});
