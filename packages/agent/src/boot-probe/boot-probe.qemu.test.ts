import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { DesiredBootProbe, DesiredReceive, DesiredSend } from '@virt8ra/contract';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { connectMonitor } from '../qemu/monitor.js';
import { hasCommand } from '../system/run-command.js';
import { AgentProcess, testFolder } from '../testing/agent-process.js';
import { imageVolume, smallInstance } from '../testing/desired-objects.js';
import { FakeControlPlane } from '../testing/fake-control-plane.js';
import { counterFrom, tinyGuestBytes, tinyGuestImage } from '../testing/tiny-guest.js';

const qemu = (await hasCommand('qemu-system-x86_64')) && (await hasCommand('qemu-nbd'));
if (!qemu) process.stderr.write('skipped: qemu-system-x86_64 and qemu-nbd are not installed\n');

/** Processes of guests whose command line has all of these words. */
function guestsWith(...words: readonly string[]): number {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8');
        return command.startsWith('qemu-system') && words.every((word) => command.includes(word));
      } catch {
        return false;
      }
    }).length;
}

describe.skipIf(!qemu)('a copy that waits for its cut-over', () => {
  let plane: FakeControlPlane;
  let alpha: AgentProcess;
  let beta: AgentProcess;
  const guest = (at: 'alpha' | 'beta', n: number) => plane.view(at).instances.get(`i${n}`);
  const transfer = (at: 'alpha' | 'beta', n: number) => plane.view(at).transfers.get(`t${n}`);
  const receive = (n: number, probe?: DesiredBootProbe): DesiredReceive => ({
    id: `t${n}`,
    role: 'receive',
    disks: [{ volumeKey: `w${n}`, sizeBytes: tinyGuestBytes }],
    peerName: 'alpha.agents.virt8ra.internal',
    goal: 'receive',
    ...(probe === undefined ? {} : { probe }),
  });
  const send = (n: number, change: Partial<DesiredSend> = {}): DesiredSend => {
    const { address = '', port = 0 } = transfer('beta', n) ?? {};
    return {
      id: `t${n}`,
      role: 'send',
      mode: 'warm',
      instanceKey: `i${n}`,
      disks: [{ volumeKey: `v${n}`, sizeBytes: tinyGuestBytes }],
      peer: { name: 'beta.agents.virt8ra.internal', address, port },
      minPasses: 2,
      goal: 'copy',
      epoch: 1,
      ...change,
    };
  };
  const probe = (n: number, request: string, timeoutSeconds: number): DesiredBootProbe => {
    const { permit: _, ...instance } = smallInstance(`j${n}`, `w${n}`, { epoch: 1, holder: 'nobody' });
    return { request, timeoutSeconds, expects: 'serial-console', instance };
  };

  beforeEach(async () => {
    plane = await FakeControlPlane.start();
    alpha = new AgentProcess(plane, 'alpha', await testFolder());
    beta = new AgentProcess(plane, 'beta', await testFolder());
    const image = plane.addArtifact(tinyGuestImage());
    const permit = { epoch: 1, holder: 'alpha' };
    plane.want('alpha', {
      volumes: [1, 2].map((n) => imageVolume(`v${n}`, image, tinyGuestBytes)),
      instances: [1, 2].map((n) => smallInstance(`i${n}`, `v${n}`, permit)),
    });
    plane.want('beta', {
      volumes: [1, 2].map((n) => ({
        key: `w${n}`,
        sizeBytes: tinyGuestBytes,
        source: { type: 'incoming', transferId: `t${n}` },
        settle: false,
      })),
      transfers: [receive(1), receive(2)],
    });
    alpha.start();
    beta.start();
    for (const n of [1, 2]) {
      await plane.until('the guest runs', () => (guest('alpha', n)?.boot?.serialBytes ?? 0) > 50, 60_000);
      await plane.until('beta listens', () => transfer('beta', n)?.port, 60_000);
    }
  });
  afterEach(async (test) => {
    if (test.task.result?.state === 'fail') process.stderr.write(`--- alpha\n${alpha.log}\n--- beta\n${beta.log}\n`);
    await alpha.destroy();
    await beta.destroy();
    await plane.stop();
  });

  it('goes on in passes, boots the copy in isolation while its source runs, and tells of one that does not boot', async () => {
    // The running guest needs its boot sector no more; whatever boots of its copy does.
    const runtime = join(alpha.folder, 'alpha-run', createHash('sha256').update('i2').digest('hex').slice(0, 12));
    const monitor = await connectMonitor(join(runtime, 'mover'));
    const said = await monitor.run('human-monitor-command', {
      'command-line': 'qemu-io -d /machine/peripheral/vd0/virtio-backend "write -P 0 0 512"',
    });
    expect(said).toBe('');
    monitor.close();

    plane.want('alpha', { transfers: [send(1), send(2)] });
    for (const n of [1, 2]) await plane.until('it has converged', () => transfer('alpha', n)?.state === 'converged', 60_000);
    const passes = transfer('alpha', 1)?.passes ?? 0;
    await plane.until('passes go on', () => (transfer('alpha', 1)?.passes ?? 0) > passes, 60_000);
    expect(transfer('alpha', 1)?.recentPasses?.at(-1)).toMatchObject({ workBytes: expect.any(Number), dirtyBytes: expect.any(Number) });

    plane.want('alpha', { transfers: [send(1, { hold: true }), send(2, { hold: true })] });
    for (const n of [1, 2]) await plane.until('the source holds', () => transfer('alpha', n)?.held, 60_000);
    const held = transfer('alpha', 1)?.bytes;
    const counted = counterFrom(alpha.serial('i1'));
    plane.want('beta', { transfers: [receive(1, probe(1, 'first', 60)), receive(2, probe(2, 'first', 8))] });
    await plane.until('it boots', () => guestsWith(beta.folder, 'boot-probe') > 0, 60_000);

    // The copy's guest ends with its agent, and is begun anew by the next.
    await beta.stop('SIGKILL');
    await expect.poll(() => guestsWith(beta.folder, 'boot-probe'), { timeout: 10_000 }).toBe(0);
    beta.start();
    const ended = (n: number) => {
      const seen = transfer('beta', n)?.probe;
      return seen !== undefined && seen.state !== 'booting' ? seen : undefined;
    };
    expect(await plane.until('the first copy shows life', () => ended(1), 90_000)).toMatchObject({
      request: 'first',
      state: 'alive',
      observed: 'serial-console',
    });
    expect(await plane.until('the second does not', () => ended(2), 90_000)).toMatchObject({
      state: 'dead',
      reason: expect.stringContaining('within 8 s'),
      serialTail: expect.any(String),
    });
    expect(transfer('alpha', 1)?.bytes).toBe(held);
    for (const n of [1, 2]) expect(guest('alpha', n)?.state).toBe('running');
    expect(counterFrom(alpha.serial('i1'))).toBeGreaterThan(counted);

    plane.want('beta', { transfers: [receive(1), receive(2)] });
    for (const n of [1, 2])
      await plane.until('nothing of a probe is left', () => transfer('beta', n) !== undefined && transfer('beta', n)?.probe === undefined);
    await expect.poll(() => guestsWith(beta.folder, 'boot-probe'), { timeout: 10_000 }).toBe(0);
    expect(readdirSync(join(beta.state, 'probes'))).toEqual([]);

    // The copy was not touched by it: it goes on, and is whole.
    const { address = '', port = 0 } = await plane.until('beta listens again', () =>
      transfer('beta', 1)?.port === undefined ? undefined : transfer('beta', 1),
    );
    const peer = { name: 'beta.agents.virt8ra.internal', address, port };
    plane.want('alpha', { transfers: [send(1, { peer, goal: 'finish' }), send(2, { goal: 'abort' })] });
    const roots = async (at: 'alpha' | 'beta') =>
      (await plane.until('all is there', () => (transfer(at, 1)?.state === 'finished' ? transfer(at, 1) : undefined), 60_000))?.roots;
    expect(await roots('beta')).toEqual(await roots('alpha'));
    await plane.until('the other is called off', () => transfer('alpha', 2)?.state === 'aborted', 60_000);
    expect(guest('alpha', 2)?.state).toBe('running');
  }, 240_000);
});
