import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { readProcessIdentity } from './system/process-identity.js';
import { hasCommand } from './system/run-command.js';
import { blankVolume, imageVolume, smallInstance } from './testing/desired-objects.js';
import { type OneAgent, prepareAgent } from './testing/one-agent.js';
import { counterFrom, tinyGuestBytes, tinyGuestImage } from './testing/tiny-guest.js';

const qemu = (await hasCommand('qemu-system-x86_64')) && (await hasCommand('qemu-img'));
if (!qemu) process.stderr.write('skipped: qemu-system-x86_64 and qemu-img are not installed\n');

describe.skipIf(!qemu)('an agent with a real guest', () => {
  let plane: OneAgent['plane'];
  let agent: OneAgent['agent'];
  let end: OneAgent['end'];

  beforeEach(async () => {
    ({ plane, agent, end } = await prepareAgent());
  });
  afterEach(async (test) => await end(test));

  const running = async () =>
    await plane.until('the guest runs and writes to its console', () => {
      const seen = plane.view('alpha').instances.get('i1');
      return seen?.state === 'running' && (seen.boot?.serialBytes ?? 0) > 20 ? seen : undefined;
    });

  it('makes a volume from an image, boots it, stops it and starts it again', async () => {
    const image = plane.addArtifact(tinyGuestImage());
    plane.cutArtifactAfter = 1024 * 1024;
    plane.want('alpha', {
      volumes: [imageVolume('v1', image, tinyGuestBytes * 2)],
      instances: [smallInstance('i1', 'v1', { epoch: 1, holder: 'alpha' })],
    });
    agent.start();
    const first = await running();
    expect(first).toMatchObject({
      machine: expect.stringMatching(/^pc-q35-\d/),
      cpuModel: expect.stringMatching(/-v\d+$/),
      accelerator: expect.any(String),
      permitEpoch: 1,
    });
    expect(plane.artifactBytes).toBe(image.bytes);
    expect(plane.view('alpha').volumes.get('v1')).toMatchObject({ state: 'ready', sizeBytes: tinyGuestBytes * 2 });

    plane.want('alpha', { instances: [smallInstance('i1', 'v1', { epoch: 1, holder: 'alpha' }, { power: 'off' })] });
    await plane.until('the guest is stopped', () => plane.view('alpha').instances.get('i1')?.state === 'stopped');
    expect(await readProcessIdentity(first.pid ?? 0)).toBeUndefined();
    const before = counterFrom(agent.serial('i1'));

    plane.want('alpha', { instances: [smallInstance('i1', 'v1', { epoch: 1, holder: 'alpha' })] });
    const second = await running();
    expect(second.pid).not.toBe(first.pid);
    await expect.poll(() => counterFrom(agent.serial('i1')), { timeout: 10_000 }).toBeGreaterThan(before);
    expect(plane.faults).toEqual([]);
  });

  it('does not look at a guest when something changes that has nothing to do with it', async () => {
    const image = plane.addArtifact(tinyGuestImage());
    const one = imageVolume('v1', image, tinyGuestBytes);
    plane.want('alpha', { volumes: [one], instances: [smallInstance('i1', 'v1', { epoch: 1, holder: 'alpha' })] });
    agent.start();
    await running();
    // It writes all the time, so that each look finds another number.
    const looks = new Set<number>();
    for (let number = 2; number < 12; number += 1) {
      const others = Array.from({ length: number - 1 }, (_, index) => blankVolume(`v${index + 2}`, 1024 ** 2));
      plane.want('alpha', { volumes: [one, ...others] });
      await plane.until('the new volume is ready', () => {
        looks.add(plane.view('alpha').instances.get('i1')?.boot?.serialBytes ?? 0);
        return plane.view('alpha').volumes.get(`v${number}`)?.state === 'ready';
      });
    }
    // The periodic look, and those of its first moments.
    expect(looks.size).toBeLessThan(5);
  });

  it('finds its guest again after it was killed, and restarts a guest whose process died', async () => {
    const image = plane.addArtifact(tinyGuestImage());
    plane.want('alpha', {
      volumes: [imageVolume('v1', image, tinyGuestBytes)],
      instances: [smallInstance('i1', 'v1', { epoch: 1, holder: 'alpha' })],
    });
    agent.start();
    const first = await running();
    await agent.stop('SIGKILL');
    const atKill = counterFrom(agent.serial('i1'));
    await expect.poll(() => counterFrom(agent.serial('i1')), { timeout: 10_000 }).toBeGreaterThan(atKill);
    plane.view('alpha').instances.clear();
    agent.start();
    const adopted = await running();
    expect(adopted).toMatchObject({ pid: first.pid, startedAt: first.startedAt });

    process.kill(first.pid ?? 0, 'SIGKILL');
    const reborn = await plane.until('another process runs', () => {
      const seen = plane.view('alpha').instances.get('i1');
      return seen?.state === 'running' && seen.pid !== first.pid ? seen : undefined;
    });
    expect(reborn.startedAt).not.toBe(first.startedAt);
  });

  it('gives up a permit for good: not run again under it, also after its own restart', async () => {
    const image = plane.addArtifact(tinyGuestImage());
    const permit = { epoch: 1, holder: 'alpha' };
    plane.want('alpha', { volumes: [imageVolume('v1', image, tinyGuestBytes)], instances: [smallInstance('i1', 'v1', permit)] });
    agent.start();
    const first = await running();
    plane.want('alpha', { instances: [smallInstance('i1', 'v1', permit, { surrenderEpoch: 1 })] });
    const waiting = await plane.until('the surrender is reported', () => {
      const seen = plane.view('alpha').instances.get('i1');
      return seen?.surrender !== undefined && seen.state === 'waiting' ? seen : undefined;
    });
    expect(waiting.surrender).toMatchObject({ statement: 'released', epoch: 1, host: 'alpha', instance: 'res_i1' });
    expect(await readProcessIdentity(first.pid ?? 0)).toBeUndefined();

    await agent.stop('SIGKILL');
    plane.want('alpha', { instances: [smallInstance('i1', 'v1', permit)] });
    plane.view('alpha').instances.clear();
    agent.start();
    const refused = await plane.until('the agent is back', () => plane.view('alpha').instances.get('i1'));
    await pause(500);
    expect(plane.view('alpha').instances.get('i1')).toMatchObject({
      state: 'waiting',
      waitingFor: expect.stringContaining('gave up epoch 1'),
      surrender: refused.surrender,
    });

    plane.want('alpha', {
      instances: [smallInstance('i1', 'v1', { epoch: 2, holder: 'alpha', ...(refused.surrender && { evidence: refused.surrender }) })],
    });
    expect((await running()).permitEpoch).toBe(2);
  });

  it('stops a guest whose permit expires, without being told', async () => {
    const image = plane.addArtifact(tinyGuestImage());
    plane.want('alpha', { volumes: [imageVolume('v1', image, tinyGuestBytes)], instances: [] });
    agent.start();
    await plane.until('the volume is ready', () => plane.view('alpha').volumes.get('v1')?.state === 'ready');
    const expiresAt = new Date(Date.now() + 8_000).toISOString();
    plane.want('alpha', { instances: [smallInstance('i1', 'v1', { epoch: 1, holder: 'alpha', expiresAt })] });
    const { pid } = await running();
    await plane.stop();
    await expect.poll(async () => await readProcessIdentity(pid ?? 0), { timeout: 10_000 }).toBeUndefined();
    expect(Date.now()).toBeLessThan(Date.parse(expiresAt));
  });

  it('removes what is no longer desired and leaves nothing behind', async () => {
    const image = plane.addArtifact(tinyGuestImage());
    plane.want('alpha', {
      volumes: [imageVolume('v1', image, tinyGuestBytes)],
      instances: [smallInstance('i1', 'v1', { epoch: 1, holder: 'alpha' })],
    });
    agent.start();
    const { pid } = await running();
    plane.want('alpha', { volumes: [], instances: [] });
    await plane.until('nothing is left', () => {
      const view = plane.view('alpha');
      return view.generation === plane.desired('alpha').generation && view.instances.size === 0 && view.volumes.size === 0;
    });
    expect(await readProcessIdentity(pid ?? 0)).toBeUndefined();
    expect(existsSync(`${agent.state}/volumes/v1`)).toBe(false);
    expect(existsSync(`${agent.state}/instances/i1`)).toBe(false);
  });

  it('keeps what a restored control plane has not listed yet', async () => {
    const image = plane.addArtifact(tinyGuestImage());
    plane.want('alpha', {
      volumes: [imageVolume('v1', image, tinyGuestBytes)],
      instances: [smallInstance('i1', 'v1', { epoch: 1, holder: 'alpha' })],
    });
    const listed = plane.desired('alpha');
    agent.start();
    const { pid } = await running();
    plane.epoch = 'epoch-2';
    plane.wantExactly('alpha', { generation: 1, networks: [], volumes: [], instances: [], transfers: [] });
    await plane.until('the new epoch is taken over', () => plane.view('alpha').generation === 1 && plane.view('alpha').fulls > 2);
    await pause(500);
    expect(plane.view('alpha').instances.get('i1')).toMatchObject({ pid });
    expect(await readProcessIdentity(pid ?? 0)).toBeDefined();
    plane.wantExactly('alpha', { ...listed, generation: 2 });
    await running();
    plane.wantExactly('alpha', { generation: 3, networks: [], volumes: [], instances: [], transfers: [] });
    await plane.until(
      'it is removed once listed and dropped',
      () => plane.view('alpha').instances.size === 0 && plane.view('alpha').volumes.size === 0,
    );
  });

  it('runs guests without privileges and in the sandbox', async () => {
    const image = plane.addArtifact(tinyGuestImage());
    plane.want('alpha', {
      volumes: [imageVolume('v1', image, tinyGuestBytes)],
      instances: [smallInstance('i1', 'v1', { epoch: 1, holder: 'alpha' })],
    });
    agent.start();
    const { pid } = await running();
    const status = readFileSync(`/proc/${pid}/status`, 'utf8');
    expect(status).toMatch(/^NoNewPrivs:\s+1$/m);
    expect(status).toMatch(/^Seccomp:\s+2$/m);
    expect(status).toMatch(/^CapEff:\s+0+$/m);
    if (process.getuid?.() === 0) {
      expect(Number(/^Uid:\s+(\d+)/m.exec(status)?.[1])).toBeGreaterThanOrEqual(0x70000000);
      expect(status).toMatch(/^CapBnd:\s+0+$/m);
    }
  });

  it('restarts a guest once each time the count grows', async () => {
    const image = plane.addArtifact(tinyGuestImage());
    plane.want('alpha', {
      volumes: [imageVolume('v1', image, tinyGuestBytes)],
      instances: [smallInstance('i1', 'v1', { epoch: 1, holder: 'alpha' })],
    });
    agent.start();
    const first = await running();
    plane.want('alpha', { instances: [smallInstance('i1', 'v1', { epoch: 1, holder: 'alpha' }, { restarts: 1 })] });
    const second = await plane.until('another process runs', () => {
      const seen = plane.view('alpha').instances.get('i1');
      return seen?.state === 'running' && seen.pid !== first.pid ? seen : undefined;
    });
    expect(second.restarts).toBe(1);
    await pause(1_500);
    expect(plane.view('alpha').instances.get('i1')?.pid).toBe(second.pid);
  });

  it('refuses what the host cannot hold, says so, and leaves nothing half made', async () => {
    const image = plane.addArtifact(tinyGuestImage());
    const huge = 1024 ** 5;
    plane.want('alpha', {
      volumes: [imageVolume('v1', image, huge), imageVolume('v2', image, tinyGuestBytes)],
      instances: [
        smallInstance('i1', 'v1', { epoch: 1, holder: 'alpha' }),
        smallInstance('i2', 'v2', { epoch: 1, holder: 'alpha' }, { memoryMiB: 100 * 1024 * 1024 }),
      ],
    });
    agent.start();
    const volume = await plane.until('the volume is refused', () => {
      const seen = plane.view('alpha').volumes.get('v1');
      return seen?.state === 'failed' ? seen : undefined;
    });
    expect(volume.problem).toMatchObject({ code: 'exhausted', message: expect.stringContaining('no room') });
    expect(existsSync(`${agent.state}/volumes/v1`)).toBe(false);
    const instance = await plane.until('the instance is refused', () => {
      const seen = plane.view('alpha').instances.get('i2');
      return seen?.state === 'failed' ? seen : undefined;
    });
    expect(instance.problem).toMatchObject({ code: 'exhausted', message: expect.stringContaining('memory') });
    expect(plane.view('alpha').instances.get('i1')).toMatchObject({ state: 'waiting', waitingFor: 'volume v1' });
  });

  it('starts its guests from the ledger after a reboot without a control plane, and not those it gave up', async () => {
    const image = plane.addArtifact(tinyGuestImage());
    const permit = { epoch: 1, holder: 'alpha' };
    plane.want('alpha', {
      volumes: [imageVolume('v1', image, tinyGuestBytes), imageVolume('v2', image, tinyGuestBytes)],
      instances: [smallInstance('i1', 'v1', permit), smallInstance('i2', 'v2', permit, { surrenderEpoch: 1 })],
    });
    agent.start();
    const { pid } = await running();
    await plane.until('the other one is given up', () => plane.view('alpha').instances.get('i2')?.surrender);
    await agent.stop('SIGKILL');
    await plane.stop();
    process.kill(pid ?? 0, 'SIGKILL');
    // What a reboot changes: the boot id, and every process is gone.
    const file = `${agent.state}/instances/i1/instance.json`;
    const record = JSON.parse(readFileSync(file, 'utf8')) as { launch: { bootId: string; pid: number } };
    writeFileSync(file, JSON.stringify({ ...record, launch: { ...record.launch, bootId: 'another boot' } }));
    agent.start();
    const launched = (key: string) =>
      (JSON.parse(readFileSync(`${agent.state}/instances/${key}/instance.json`, 'utf8')) as { launch?: { pid?: number } }).launch?.pid;
    await expect.poll(() => launched('i1') !== undefined && launched('i1') !== pid, { timeout: 15_000 }).toBe(true);
    const serial = () => counterFrom(agent.serial('i1'));
    const before = serial();
    await expect.poll(serial, { timeout: 15_000 }).toBeGreaterThan(before);
    expect(launched('i2')).toBeUndefined();
    process.kill(launched('i1') ?? 0, 'SIGKILL');
  });
});
