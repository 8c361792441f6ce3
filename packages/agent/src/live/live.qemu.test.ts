import { readFile } from 'node:fs/promises';
import type { DesiredLiveReceive, DesiredLiveSend, DesiredVolume, Permit } from '@virt8ra/contract';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { connectMonitor } from '../qemu/monitor.js';
import { readProcessIdentity } from '../system/process-identity.js';
import { hasCommand } from '../system/run-command.js';
import { AgentProcess, testFolder } from '../testing/agent-process.js';
import { imageVolume, smallInstance } from '../testing/desired-objects.js';
import { FakeControlPlane } from '../testing/fake-control-plane.js';
import { counterFrom, tinyGuestBytes, tinyGuestImage } from '../testing/tiny-guest.js';

const qemu = (await hasCommand('qemu-system-x86_64')) && (await hasCommand('qemu-img'));
if (!qemu) process.stderr.write('skipped: qemu-system-x86_64 and qemu-img are not installed\n');

describe.skipIf(!qemu)('a live move between two agents', () => {
  let plane: FakeControlPlane;
  let alpha: AgentProcess;
  let beta: AgentProcess;
  const permit: Permit = { epoch: 1, holder: 'alpha' };
  const awaiting: Permit = { epoch: 2, holder: 'beta', awaits: 'alpha' };
  const disks = (volumeKey: string) => [{ volumeKey, sizeBytes: tinyGuestBytes }];
  const receive: DesiredLiveReceive = {
    id: 't1',
    role: 'receive',
    mode: 'live',
    instanceKey: 'i1',
    disks: disks('v2'),
    peerName: 'alpha.agents.virt8ra.internal',
    goal: 'receive',
  };
  const volume: DesiredVolume = { key: 'v2', sizeBytes: tinyGuestBytes, source: { type: 'incoming', transferId: 't1' }, settle: false };
  const transfer = (host: string) => plane.view(host).transfers.get('t1');
  const instance = (host: string) => plane.view(host).instances.get('i1');
  const grant = (given: Permit | undefined, change: object = {}) => {
    const { permit: _, ...rest } = smallInstance('i1', 'v2', awaiting, change);
    plane.want('beta', { instances: [given === undefined ? rest : { ...rest, permit: given }] });
  };

  beforeEach(async () => {
    plane = await FakeControlPlane.start();
    alpha = new AgentProcess(plane, 'alpha', await testFolder());
    beta = new AgentProcess(plane, 'beta', await testFolder());
    const image = plane.addArtifact(tinyGuestImage());
    plane.want('alpha', { volumes: [imageVolume('v1', image, tinyGuestBytes)], instances: [smallInstance('i1', 'v1', permit)] });
    plane.want('beta', { volumes: [volume], transfers: [receive] });
    grant(undefined);
    alpha.start();
    beta.start();
    await plane.until('the guest runs', () => instance('alpha')?.state === 'running' && (instance('alpha')?.boot?.serialBytes ?? 0) > 50);
    await plane.until('beta listens', () => transfer('beta')?.port);
  });
  afterEach(async (test) => {
    if (test.task.result?.state === 'fail') process.stderr.write(`--- alpha\n${alpha.log}\n--- beta\n${beta.log}\n`);
    await alpha.destroy();
    await beta.destroy();
    await plane.stop();
  });

  const send = (goal: DesiredLiveSend['goal'], change: Partial<DesiredLiveSend> = {}) => {
    const { address = '', port = 0 } = transfer('beta') ?? {};
    const desired: DesiredLiveSend = {
      id: 't1',
      role: 'send',
      mode: 'live',
      instanceKey: 'i1',
      disks: disks('v1'),
      peer: { name: 'beta.agents.virt8ra.internal', address, port },
      goal,
      epoch: 1,
      ...change,
    };
    plane.want('alpha', { transfers: [desired] });
  };
  const copied = async () =>
    await plane.until('the disks are equal', () => ['converged', 'finishing', 'finished'].includes(transfer('alpha')?.state ?? ''), 60_000);
  const goesOn = async (agent: AgentProcess) => {
    const then = counterFrom(agent.serial('i1'));
    await expect.poll(() => counterFrom(agent.serial('i1')), { timeout: 20_000 }).toBeGreaterThan(then);
  };

  it('moves memory and disk, pauses shortly, and lets the target run on the source’s word alone', async () => {
    const { pid } = instance('alpha') ?? {};
    send('copy');
    await copied();
    expect(instance('alpha')?.state).toBe('running');
    expect(instance('beta')?.state).toBe('waiting');
    grant(awaiting);
    send('finish');
    const end = await plane.until(
      'the source is done',
      () => (transfer('alpha')?.state === 'finished' ? transfer('alpha') : undefined),
      60_000,
    );
    const last = counterFrom(alpha.serial('i1'));
    await plane.until('the guest runs at beta', () => instance('beta')?.state === 'running');
    expect(end?.pauseMs).toBeLessThan(2_000);
    expect(await readProcessIdentity(pid ?? 0)).toBeUndefined();
    expect(instance('alpha')?.surrender).toMatchObject({ statement: 'released', epoch: 1, host: 'alpha' });
    expect(instance('beta')?.permitEpoch).toBe(2);
    // Its serial console begins where the other ended: nothing was booted.
    await expect.poll(() => beta.serial('i1').length, { timeout: 20_000 }).toBeGreaterThan(40);
    const first =
      beta
        .serial('i1')
        .split('\n')
        .find((line) => /^[0-9a-f]{8}\r?$/.test(line)) ?? '0';
    expect(Number.parseInt(first, 16)).toBeGreaterThanOrEqual(last);
    expect(Number.parseInt(first, 16) - last).toBeLessThanOrEqual(3);
    expect(beta.serial('i1')).not.toContain('B');

    await plane.until('the disk has arrived', () => plane.view('beta').volumes.get('v2')?.state === 'arrived');
    await plane.until('the receiver is done', () => transfer('beta')?.state === 'finished');
    plane.want('alpha', { volumes: [{ ...(plane.desired('alpha').volumes[0] as DesiredVolume), digestRequest: 'q1' }] });
    plane.want('beta', { volumes: [{ ...volume, digestRequest: 'q1' }] });
    const there = await plane.until('the source’s disk is read', () => plane.view('alpha').volumes.get('v1')?.digest, 60_000);
    const here = await plane.until('the frozen disk is read', () => plane.view('beta').volumes.get('v2')?.digest, 60_000);
    expect(here.root).toBe(there.root);
    plane.want('beta', { volumes: [{ ...volume, settle: true }], transfers: [] });
    await plane.until('the overlay is merged', () => plane.view('beta').volumes.get('v2')?.state === 'ready');
    await goesOn(beta);
    expect(counterFrom(alpha.serial('i1'))).toBe(last);
    expect(plane.faults).toEqual([]);
  });

  it('leaves the guest running and nothing behind when it is called off, however far it is', async () => {
    const { pid } = instance('alpha') ?? {};
    send('copy');
    await copied();
    // Without a permit at the target the source does not even begin to send the memory.
    send('finish');
    await goesOn(alpha);
    expect(transfer('alpha')?.state).toBe('converged');
    send('abort');
    await plane.until('the source is out of it', () => transfer('alpha')?.state === 'aborted');
    plane.want('beta', { transfers: [{ ...receive, goal: 'abort' }], instances: [], volumes: [] });
    await plane.until('the target is out of it', () => transfer('beta')?.state === 'aborted' && plane.view('beta').instances.size === 0);
    await plane.until('its disk is gone', () => plane.view('beta').volumes.size === 0);
    await goesOn(alpha);
    expect(instance('alpha')).toMatchObject({ pid, state: 'running', permitEpoch: 1 });
    expect(instance('alpha')?.surrender).toBeUndefined();
    const monitor = await connectMonitor(await moverSocket(pid));
    const nodes = (await monitor.run('query-named-block-nodes', { flat: true })) as { 'node-name': string }[];
    monitor.close();
    expect(nodes.filter((node) => node['node-name'].startsWith('live'))).toEqual([]);
  });

  it('begins anew when the receiving process or an agent dies while it copies', async () => {
    send('copy');
    await copied();
    const { pid } = instance('beta') ?? {};
    process.kill(pid ?? 0, 'SIGKILL');
    await plane.until('another process receives', () => instance('beta')?.pid !== undefined && instance('beta')?.pid !== pid, 60_000);
    await alpha.stop('SIGKILL');
    await beta.stop('SIGKILL');
    for (const host of ['alpha', 'beta']) plane.view(host).transfers.clear();
    beta.start();
    alpha.start();
    await plane.until('beta listens', () => transfer('beta')?.port, 60_000);
    grant(awaiting);
    send('finish');
    await plane.until('the guest runs at beta', () => instance('beta')?.state === 'running', 60_000);
    await plane.until('the source is done', () => transfer('alpha')?.state === 'finished');
    await goesOn(beta);
    expect(beta.serial('i1')).not.toContain('B');
  });

  it('runs on the control plane’s word where the source could not hand it over, and only then', async () => {
    // A permit that has run out: all arrives, and nobody runs.
    grant({ ...awaiting, expiresAt: new Date(Date.now() - 60_000).toISOString() });
    send('finish');
    const surrender = await plane.until('the source has let go', () => instance('alpha')?.surrender, 60_000);
    const last = counterFrom(alpha.serial('i1'));
    await plane.until('the source waits', () => instance('alpha')?.state === 'paused');
    expect(instance('beta')?.state).toBe('waiting');
    await alpha.stop('SIGKILL');
    plane.view('alpha').transfers.clear();
    alpha.start();
    await plane.until('the source hands over still', () => transfer('alpha')?.state);
    expect(counterFrom(alpha.serial('i1'))).toBe(last);
    grant({ epoch: 2, holder: 'beta', evidence: surrender });
    await plane.until('the guest runs at beta', () => instance('beta')?.state === 'running');
    await plane.until('the source is done', () => transfer('alpha')?.state === 'finished');
    await goesOn(beta);
    expect(counterFrom(alpha.serial('i1'))).toBe(last);
  });

  it('goes on at the source from where it stood, under a later permit, when the target lost it', async () => {
    const { pid } = instance('alpha') ?? {};
    grant({ ...awaiting, expiresAt: new Date(Date.now() - 60_000).toISOString() });
    send('finish');
    await plane.until('the source has let go', () => instance('alpha')?.surrender, 60_000);
    process.kill(instance('beta')?.pid ?? 0, 'SIGKILL');
    await plane.until('the source hears that it was lost', () => transfer('alpha')?.state === 'failed', 60_000);
    const last = counterFrom(alpha.serial('i1'));
    expect(instance('alpha')).toMatchObject({ pid, state: 'paused' });
    grant(awaiting, { surrenderEpoch: 2 });
    const refusal = await plane.until('the target refuses', () => instance('beta')?.surrender);
    expect(refusal).toMatchObject({ statement: 'refused', epoch: 2, host: 'beta' });
    send('abort');
    await plane.until('the source is out of it', () => transfer('alpha')?.state === 'aborted');
    expect(counterFrom(alpha.serial('i1'))).toBe(last);
    plane.want('alpha', { instances: [smallInstance('i1', 'v1', { epoch: 3, holder: 'alpha', evidence: refusal })] });
    await plane.until('the guest goes on', () => instance('alpha')?.state === 'running');
    await goesOn(alpha);
    expect(instance('alpha')).toMatchObject({ pid, permitEpoch: 3 });
    expect(alpha.serial('i1').split('B')).toHaveLength(2);
  });
});

/** The second monitor of a guest's process, from its command line. */
async function moverSocket(pid: number | undefined): Promise<string> {
  const command = await readFile(`/proc/${pid}/cmdline`, 'utf8');
  return /path=([^,\0]+\/mover)/.exec(command)?.[1] ?? '';
}
