import { existsSync, readdirSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { DesiredLiveReceive, DesiredReceive, DesiredSend } from '@virt8ra/contract';
import { afterEach, describe, expect, it } from 'vitest';
import { hasCommand } from '../system/run-command.js';
import { AgentProcess, testFolder } from '../testing/agent-process.js';
import { imageVolume, smallInstance } from '../testing/desired-objects.js';
import { FakeControlPlane } from '../testing/fake-control-plane.js';
import { mountSmallDisk, noSmallDisk } from '../testing/small-disk.js';
import { counterFrom, tinyGuestBytes, tinyGuestImage } from '../testing/tiny-guest.js';

const present = (await hasCommand('qemu-system-x86_64')) && (await hasCommand('qemu-nbd'));
const reason = present ? noSmallDisk() : 'qemu-system-x86_64 and qemu-nbd are not installed';
if (reason !== undefined) process.stderr.write(`skipped: ${reason}\n`);

const mib = 1024 ** 2;

describe.skipIf(reason !== undefined)('a move between two agents, one of which has too little room', () => {
  let plane: FakeControlPlane;
  let alpha: AgentProcess;
  let beta: AgentProcess;
  let unmount: () => void;
  const disks = (volumeKey: string) => [{ volumeKey, sizeBytes: tinyGuestBytes }];
  const receive: DesiredReceive = {
    id: 't1',
    role: 'receive',
    disks: disks('v2'),
    peerName: 'alpha.agents.virt8ra.internal',
    goal: 'receive',
  };
  const transfer = (host: string) => plane.view(host).transfers.get('t1');
  const instance = () => plane.view('alpha').instances.get('i1');
  const counter = () => counterFrom(alpha.serial('i1'));
  const runFolders = (agent: AgentProcess) => readdirSync(join(agent.folder, `${agent.host}-run`)).filter((name) => name.startsWith('t-'));

  const begin = async (small: 'alpha' | 'beta', bytes: number, receiver: DesiredReceive | DesiredLiveReceive = receive) => {
    plane = await FakeControlPlane.start();
    alpha = new AgentProcess(plane, 'alpha', await testFolder());
    beta = new AgentProcess(plane, 'beta', await testFolder());
    unmount = mountSmallDisk((small === 'alpha' ? alpha : beta).state, bytes);
    const image = plane.addArtifact(tinyGuestImage());
    const permit = { epoch: 1, holder: 'alpha' };
    const { permit: _, ...incoming } = smallInstance('i1', 'v2', permit);
    plane.want('alpha', { volumes: [imageVolume('v1', image, tinyGuestBytes)], instances: [smallInstance('i1', 'v1', permit)] });
    plane.want('beta', {
      volumes: [{ key: 'v2', sizeBytes: tinyGuestBytes, source: { type: 'incoming', transferId: 't1' }, settle: false }],
      transfers: [receiver],
      instances: 'mode' in receiver ? [incoming] : [],
    });
    alpha.start();
    beta.start();
    await plane.until('the guest runs', () => instance()?.state === 'running' && (instance()?.boot?.serialBytes ?? 0) > 50);
    await plane.until('beta listens', () => transfer('beta')?.port);
  };
  afterEach(async (test) => {
    if (test.task.result?.state === 'fail') process.stderr.write(`--- alpha\n${alpha.log}\n--- beta\n${beta.log}\n`);
    await alpha.stop('SIGKILL');
    await beta.stop('SIGKILL');
    for (const { pid } of ['alpha', 'beta'].flatMap((host) => [...plane.view(host).instances.values()]))
      if (pid !== undefined && existsSync(`/proc/${pid}`)) process.kill(pid, 'SIGKILL');
    unmount();
    await alpha.destroy();
    await beta.destroy();
    await plane.stop();
  });

  const send = (goal: DesiredSend['goal']) => {
    const { address = '', port = 0 } = transfer('beta') ?? {};
    const peer = { name: 'beta.agents.virt8ra.internal', address, port };
    const common = { id: 't1', role: 'send', mode: 'warm', instanceKey: 'i1', minPasses: 2, epoch: 1 } as const;
    plane.want('alpha', { transfers: [{ ...common, disks: disks('v1'), peer, goal }] });
  };
  const failed = async (host: string) =>
    await plane.until(`${host} has failed`, () => (transfer(host)?.state === 'failed' ? transfer(host) : undefined), 60_000);
  /** The guest goes on as if nothing had been, and nothing of the transfer is left on either host. */
  const giveUp = async () => {
    send('abort');
    await plane.until('the source has let go', () => transfer('alpha')?.state === 'aborted');
    plane.want('alpha', { transfers: [] });
    plane.want('beta', { transfers: [], volumes: [] });
    await plane.until('beta is empty', () => plane.view('beta').volumes.size === 0 && plane.view('beta').transfers.size === 0);
    await plane.until('alpha forgets the transfer', () => plane.view('alpha').transfers.size === 0);
    expect(runFolders(alpha)).toEqual([]);
    expect(runFolders(beta)).toEqual([]);
    const before = counter();
    await expect.poll(counter, { timeout: 15_000 }).toBeGreaterThan(before + 5);
    expect(instance()).toMatchObject({ state: 'running' });
    expect(instance()?.problem).toBeUndefined();
  };

  it('fails at both ends when the target fills up, and can be taken back', async () => {
    await begin('beta', 64 * mib);
    const free = () => {
      const { bavail, bsize } = statfsSync(beta.state);
      return bavail * bsize;
    };
    const others = join(beta.state, 'others');
    writeFileSync(others, Buffer.alloc(free() - 5 * mib));
    send('copy');
    for (const host of ['beta', 'alpha']) {
      expect((await failed(host))?.problem).toMatchObject({
        code: 'exhausted',
        message: expect.stringMatching(/on the receiving host .* is full: .* MiB of 64\.0 MiB are free, up to .* MiB more are needed/),
      });
    }
    await giveUp();
    expect(free()).toBeGreaterThan(4.5 * mib);
    rmSync(others);
  });

  it('does not begin live when the target has no room for it', async () => {
    await begin('beta', 64 * mib, { ...receive, mode: 'live', instanceKey: 'i1' });
    const { bavail, bsize } = statfsSync(beta.state);
    writeFileSync(join(beta.state, 'others'), Buffer.alloc(bavail * bsize - 4.5 * mib));
    const { address = '', port = 0 } = transfer('beta') ?? {};
    const peer = { name: 'beta.agents.virt8ra.internal', address, port };
    const live = { id: 't1', role: 'send', mode: 'live', instanceKey: 'i1', disks: disks('v1'), peer, epoch: 1 } as const;
    plane.want('alpha', { transfers: [{ ...live, goal: 'copy' }] });
    expect((await failed('alpha'))?.problem).toMatchObject({
      code: 'exhausted',
      message: expect.stringMatching(/^beta.* is full: .* MiB of 64\.0 MiB are free, up to .* MiB more are needed/),
    });
    const before = counter();
    await expect.poll(counter, { timeout: 15_000 }).toBeGreaterThan(before + 5);
    expect(instance()).toMatchObject({ state: 'running', permitEpoch: 1 });
  });

  it('fails at the source when that has no room for what the guest overwrites', async () => {
    await begin('alpha', 512 * mib);
    const others = join(alpha.state, 'others');
    send('copy');
    await plane.until('it copies', () => ['copying', 'converged'].includes(transfer('alpha')?.state ?? ''));
    writeFileSync(others, Buffer.alloc(280 * mib));
    expect((await failed('alpha'))?.problem).toMatchObject({
      code: 'exhausted',
      message: expect.stringMatching(/on the source host .* is full/),
    });
    expect(instance()?.state).toBe('running');
    await giveUp();
  });
});
