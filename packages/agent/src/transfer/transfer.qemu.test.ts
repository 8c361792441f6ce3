import type { DesiredReceive, DesiredSend, Surrender } from '@virt8ra/contract';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { readProcessIdentity } from '../system/process-identity.js';
import { hasCommand } from '../system/run-command.js';
import { AgentProcess, testFolder } from '../testing/agent-process.js';
import { hear } from '../testing/carrier-pair.js';
import { imageVolume, smallInstance } from '../testing/desired-objects.js';
import { FakeControlPlane } from '../testing/fake-control-plane.js';
import { counterFrom, tinyGuestBytes, tinyGuestImage } from '../testing/tiny-guest.js';

const qemu = (await hasCommand('qemu-system-x86_64')) && (await hasCommand('qemu-nbd'));
if (!qemu) process.stderr.write('skipped: qemu-system-x86_64 and qemu-nbd are not installed\n');

describe.skipIf(!qemu)('a move between two agents', () => {
  let plane: FakeControlPlane;
  let alpha: AgentProcess;
  let beta: AgentProcess;
  const permit = { epoch: 1, holder: 'alpha' };
  const disks = (volumeKey: string) => [{ volumeKey, sizeBytes: tinyGuestBytes }];
  const receive: DesiredReceive = {
    id: 't1',
    role: 'receive',
    disks: disks('v2'),
    peerName: 'alpha.agents.virt8ra.internal',
    goal: 'receive',
  };
  const transfer = (host: string) => plane.view(host).transfers.get('t1');
  const instance = (host: string) => plane.view(host).instances.get('i1');

  beforeEach(async () => {
    plane = await FakeControlPlane.start();
    alpha = new AgentProcess(plane, 'alpha', await testFolder());
    beta = new AgentProcess(plane, 'beta', await testFolder());
    const image = plane.addArtifact(tinyGuestImage());
    plane.want('alpha', { volumes: [imageVolume('v1', image, tinyGuestBytes)], instances: [smallInstance('i1', 'v1', permit)] });
    plane.want('beta', {
      volumes: [{ key: 'v2', sizeBytes: tinyGuestBytes, source: { type: 'incoming', transferId: 't1' }, settle: false }],
      transfers: [receive],
    });
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

  const send = (goal: DesiredSend['goal'], mode: DesiredSend['mode'] = 'warm') => {
    const { address = '', port = 0 } = transfer('beta') ?? {};
    const desired: DesiredSend = {
      id: 't1',
      role: 'send',
      mode,
      instanceKey: 'i1',
      disks: disks('v1'),
      peer: { name: 'beta.agents.virt8ra.internal', address, port },
      minPasses: 2,
      goal,
      epoch: 1,
    };
    plane.want('alpha', { transfers: [desired] });
  };
  const finished = async () => {
    const end = await plane.until(
      'the source is done',
      () => (transfer('alpha')?.state === 'finished' ? transfer('alpha') : undefined),
      60_000,
    );
    const far = await plane.until('the target is done', () => (transfer('beta')?.state === 'finished' ? transfer('beta') : undefined));
    expect(end?.roots).toHaveLength(1);
    expect(far?.roots).toEqual(end?.roots);
    const surrender = await plane.until('the permit is given up', () => instance('alpha')?.surrender);
    expect(surrender).toMatchObject({ statement: 'released', epoch: 1, host: 'alpha' });
    return { root: end?.roots?.[0] ?? '', surrender, end };
  };
  const bootAtBeta = async (evidence: Surrender) => {
    plane.want('beta', { instances: [smallInstance('i1', 'v2', { epoch: 2, holder: 'beta', evidence })] });
    return await plane.until('the guest runs at beta', () =>
      instance('beta')?.state === 'running' && (instance('beta')?.boot?.serialBytes ?? 0) > 20 ? instance('beta') : undefined,
    );
  };

  it('copies the disk while the guest runs, stops it once, and boots it above the frozen image', async () => {
    const { pid } = instance('alpha') ?? {};
    send('copy');
    await plane.until('it has converged', () => transfer('alpha')?.state === 'converged', 60_000);
    expect(transfer('alpha')?.passes).toBeGreaterThanOrEqual(2);
    expect(instance('alpha')?.state).toBe('running');
    const console = await plane.openStream('alpha', 'i1', { type: 'console', write: 'free', scrollbackBytes: 100 });
    const watching = hear(console.carrier);
    await watching.until('the counter goes on', () => counterFrom(watching.text) > 0);
    send('finish');
    const { root, surrender, end } = await finished();
    const last = counterFrom(alpha.serial('i1'));
    expect(end?.pauseMs).toBeLessThan(1_000);
    // Whoever was at its console is told why it is over, and saw all that it said.
    expect(await watching.until('the console ends', () => watching.ended)).toMatchObject({ code: 'moved' });
    expect(counterFrom(watching.text)).toBe(last);
    expect(await readProcessIdentity(pid ?? 0)).toBeUndefined();
    expect(plane.view('beta').volumes.get('v2')?.state).toBe('arrived');

    await bootAtBeta(surrender);
    await expect.poll(() => counterFrom(beta.serial('i1')), { timeout: 15_000 }).toBeGreaterThanOrEqual(last);

    const volume = { key: 'v2', sizeBytes: tinyGuestBytes, source: { type: 'incoming', transferId: 't1' } } as const;
    plane.want('beta', { volumes: [{ ...volume, settle: false, digestRequest: 'q1' }] });
    const digest = await plane.until('the frozen image is read', () => plane.view('beta').volumes.get('v2')?.digest, 60_000);
    expect(digest).toMatchObject({ request: 'q1', root });
    plane.want('beta', { volumes: [{ ...volume, settle: true }], transfers: [] });
    await plane.until('the overlay is merged', () => plane.view('beta').volumes.get('v2')?.state === 'ready');
    const settled = counterFrom(beta.serial('i1'));
    await expect.poll(() => counterFrom(beta.serial('i1')), { timeout: 15_000 }).toBeGreaterThan(settled);
    // The source never runs it again, though it is still told that it holds epoch 1.
    expect(instance('alpha')).toMatchObject({ state: 'waiting', waitingFor: expect.stringContaining('gave up epoch 1') });
    expect(plane.faults).toEqual([]);
  });

  it('goes on after both agents were killed during the copy', async () => {
    send('copy');
    await plane.until('it copies', () => ['copying', 'converged'].includes(transfer('alpha')?.state ?? ''));
    await alpha.stop('SIGKILL');
    await beta.stop('SIGKILL');
    const port = transfer('beta')?.port;
    plane.view('alpha').transfers.clear();
    plane.view('beta').transfers.clear();
    beta.start();
    alpha.start();
    await plane.until('beta listens where it did', () => transfer('beta')?.port === port);
    await plane.until('it has converged', () => transfer('alpha')?.state === 'converged', 60_000);
    send('finish');
    const { surrender, end } = await finished();
    expect(end?.resentBytes).toBeLessThanOrEqual((end?.chunkBytes ?? 0) * (end?.streams ?? 0));
    const last = counterFrom(alpha.serial('i1'));
    await bootAtBeta(surrender);
    await expect.poll(() => counterFrom(beta.serial('i1')), { timeout: 15_000 }).toBeGreaterThanOrEqual(last);
  });

  it('finishes though the source’s agent was killed right after the order, and never runs the guest twice', async () => {
    send('copy');
    await plane.until('it has converged', () => transfer('alpha')?.state === 'converged', 60_000);
    send('finish');
    await plane.until('it finishes', () => ['finishing', 'finished'].includes(transfer('alpha')?.state ?? ''));
    await alpha.stop('SIGKILL');
    plane.view('alpha').transfers.clear();
    plane.view('alpha').instances.clear();
    alpha.start();
    const { surrender } = await finished();
    const last = counterFrom(alpha.serial('i1'));
    await bootAtBeta(surrender);
    await expect.poll(() => counterFrom(beta.serial('i1')), { timeout: 15_000 }).toBeGreaterThanOrEqual(last);
    expect(counterFrom(alpha.serial('i1'))).toBe(last);
  });

  it('leaves the guest running and nothing behind when it is aborted', async () => {
    const { pid } = instance('alpha') ?? {};
    send('copy');
    await plane.until('it has converged', () => transfer('alpha')?.state === 'converged', 60_000);
    send('abort');
    plane.want('beta', { transfers: [{ ...receive, goal: 'abort' }] });
    await plane.until('both ends are aborted', () => transfer('alpha')?.state === 'aborted' && transfer('beta')?.state === 'aborted');
    const then = counterFrom(alpha.serial('i1'));
    await expect.poll(() => counterFrom(alpha.serial('i1')), { timeout: 15_000 }).toBeGreaterThan(then);
    expect(instance('alpha')).toMatchObject({ pid, state: 'running', permitEpoch: 1 });
    expect(instance('alpha')?.surrender).toBeUndefined();
    plane.want('beta', { volumes: [], transfers: [] });
    await plane.until('beta is empty', () => plane.view('beta').volumes.size === 0 && plane.view('beta').transfers.size === 0);
  });

  it('sends a stopped guest cold', async () => {
    plane.want('alpha', { instances: [smallInstance('i1', 'v1', permit, { power: 'off' })] });
    send('copy', 'cold');
    await plane.until('it has converged', () => transfer('alpha')?.state === 'converged', 60_000);
    expect(instance('alpha')?.state).toBe('stopped');
    send('finish', 'cold');
    const { surrender } = await finished();
    const last = counterFrom(alpha.serial('i1'));
    await bootAtBeta(surrender);
    await expect.poll(() => counterFrom(beta.serial('i1')), { timeout: 15_000 }).toBeGreaterThanOrEqual(last);
  });
});
