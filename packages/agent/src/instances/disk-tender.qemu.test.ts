import { existsSync, writeFileSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { hasCommand } from '../system/run-command.js';
import { blankVolume, imageVolume, smallInstance } from '../testing/desired-objects.js';
import { type OneAgent, prepareAgent } from '../testing/one-agent.js';
import { tinyGuestBytes, tinyGuestImage } from '../testing/tiny-guest.js';

const qemu = (await hasCommand('qemu-system-x86_64')) && (await hasCommand('qemu-img'));
if (!qemu) process.stderr.write('skipped: qemu-system-x86_64 and qemu-img are not installed\n');

const mib = 1024 * 1024;
const permit = { epoch: 1, holder: 'alpha' };

describe.skipIf(!qemu)('the disks of a running guest', () => {
  let plane: OneAgent['plane'];
  let agent: OneAgent['agent'];
  let end: OneAgent['end'];

  beforeEach(async () => {
    ({ plane, agent, end } = await prepareAgent());
  });
  afterEach(async (test) => await end(test));

  const disksOf = (key: string) => plane.view('alpha').instances.get(key)?.disks ?? [];
  const stateOf = (key: string, volumeKey: string) => disksOf(key).find((disk) => disk.volumeKey === volumeKey)?.state;

  it('come while it runs, outlive a killed agent and a damaged record, grow, and stay the guest’s until it lets go of them', async () => {
    const image = plane.addArtifact(tinyGuestImage());
    const volumes = [imageVolume('v1', image, tinyGuestBytes), blankVolume('v2', 16 * mib), blankVolume('v3', 16 * mib)];
    plane.want('alpha', { volumes, instances: [smallInstance('i1', 'v1', permit)] });
    agent.start();
    const { pid } = await plane.until('the guest runs with its boot disk', () => {
      const seen = plane.view('alpha').instances.get('i1');
      return seen?.state === 'running' && stateOf('i1', 'v1') === 'attached' ? seen : undefined;
    });
    const withDisks = (...more: string[]) => smallInstance('i1', 'v1', permit, { volumeKeys: ['v1', ...more] });

    plane.want('alpha', { instances: [withDisks('v2', 'v3')] });
    await plane.until('it has two more', () => stateOf('i1', 'v2') === 'attached' && stateOf('i1', 'v3') === 'attached');
    expect(plane.view('alpha').instances.get('i1')).toMatchObject({ pid, state: 'running' });
    expect(plane.view('alpha').instances.get('i1')?.problem).toBeUndefined();

    await agent.stop('SIGKILL');
    plane.view('alpha').instances.clear();
    // What it remembered of the guest is damaged, too: which disks came later, only the guest's process knows.
    writeFileSync(`${agent.state}/instances/i1/instance.json`, '{');
    const grown = [volumes[0], { ...blankVolume('v2', 48 * mib), limits: { iops: 100 } }, volumes[2]].flatMap((volume) => volume ?? []);
    plane.want('alpha', { volumes: grown, instances: [withDisks('v2')] });
    agent.start();
    await plane.until(
      'the guest, which has no operating system, keeps the disk it should let go of',
      () => stateOf('i1', 'v3') === 'detaching',
    );
    expect(stateOf('i1', 'v2')).toBe('attached');
    await plane.until('the other one grows', () => plane.view('alpha').volumes.get('v2')?.sizeBytes === 48 * mib);

    await plane.until('and is limited', () => disksOf('i1').some(({ volumeKey, limits }) => volumeKey === 'v2' && limits?.iops === 100));

    // Nobody else gets it, and it is not removed, while the guest has it.
    plane.want('alpha', {
      volumes: grown.slice(0, 2),
      instances: [withDisks('v2'), smallInstance('i2', 'v3', permit)],
    });
    await plane.until('another guest waits for it', () =>
      plane.view('alpha').instances.get('i2')?.waitingFor?.includes('which the guest of res_i1 has not let go of'),
    );
    expect(existsSync(`${agent.state}/volumes/v3/base.qcow2`)).toBe(true);
    plane.want('alpha', { instances: [smallInstance('i1', 'v1', permit, { volumeKeys: ['v1', 'v2'], power: 'off' })] });
    await plane.until('it is free once the guest is gone', () => !plane.view('alpha').volumes.has('v3'));
    expect(existsSync(`${agent.state}/volumes/v3`)).toBe(false);
    expect(plane.faults).toEqual([]);
  });

  it('are as many as there are places; more come with a restart', async () => {
    const image = plane.addArtifact(tinyGuestImage());
    const data = Array.from({ length: 9 }, (_, index) => blankVolume(`d${index}`, mib));
    plane.want('alpha', { volumes: [imageVolume('v1', image, tinyGuestBytes), ...data], instances: [smallInstance('i1', 'v1', permit)] });
    agent.start();
    await plane.until('the guest runs', () => stateOf('i1', 'v1') === 'attached');
    plane.want('alpha', { instances: [smallInstance('i1', 'v1', permit, { volumeKeys: ['v1', ...data.map(({ key }) => key)] })] });
    const kept = await plane.until('eight have a place', () => {
      const disks = disksOf('i1');
      return disks.filter(({ state }) => state === 'attached').length === 9 ? disks.find(({ state }) => state === 'attaching') : undefined;
    });
    expect(kept).toMatchObject({ volumeKey: 'd8', reason: expect.stringContaining('places for 8 disks') });

    plane.want('alpha', {
      instances: [smallInstance('i1', 'v1', permit, { volumeKeys: ['v1', ...data.map(({ key }) => key)], restarts: 1 })],
    });
    await plane.until('a restart makes more places', () => disksOf('i1').filter(({ state }) => state === 'attached').length === 10);
  });
});
