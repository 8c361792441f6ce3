import { agentDnsName, type DesiredLiveReceive, type ObservedTransfer, Problem, type Surrender } from '@virt8ra/contract';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { HostContext } from '../host-context.js';
import { silentLog } from '../log.js';
import type { MoverTls } from '../mover/peer.js';
import type { Guest } from '../qemu/guest.js';
import type { ProcessIdentity } from '../system/process-identity.js';
import { readProcessIdentity } from '../system/process-identity.js';
import { smallInstance } from '../testing/desired-objects.js';
import { createTestAuthority } from '../testing/test-authority.js';
import type { TransferStore } from '../transfer/transfer-store.js';
import { type Channel, openChannel } from './channel.js';
import type { LiveParts } from './live-end.js';
import { LiveReceiver } from './live-receiver.js';
import { LiveReconciler } from './live-reconciler.js';

const desired: DesiredLiveReceive = {
  id: 't1',
  role: 'receive',
  mode: 'live',
  instanceKey: 'i1',
  disks: [{ volumeKey: 'v1', sizeBytes: 1 }],
  peerName: agentDnsName('alpha'),
  goal: 'receive',
};
const surrender: Surrender = {
  statement: 'released',
  instance: 'res_1',
  epoch: 1,
  host: 'alpha',
  at: '2026-01-01T00:00:00Z',
  certificate: 'c',
  signature: 's',
};

/** What of a host the receiver sees: its memory has arrived, and it is asked over a real channel. */
class Host {
  status = 'paused';
  alive = true;
  held = 0;
  readonly stages: string[] = [];
  told: Partial<ObservedTransfer> = {};
  /** What a resume comes to; the permit is journaled before. */
  resume: () => void = () => {
    this.status = 'running';
  };
  resumes = 0;
  readonly #me: ProcessIdentity;

  constructor(me: ProcessIdentity) {
    this.#me = me;
  }

  readonly #monitor = {
    onEvent: () => () => {},
    closed: new Promise<void>(() => {}),
    run: async (command: string) => {
      if (command === 'query-status') return { status: this.status };
      if (command === 'query-migrate') return { status: 'completed' };
      if (command === 'query-block') return [{ qdev: '/machine/vd0/virtio-backend', inserted: { 'node-name': 'disk0' } }];
      return [];
    },
  };

  get context(): HostContext {
    return {
      config: {},
      dataAddress: () => '127.0.0.1',
      log: silentLog,
      ledger: { state: { instances: [smallInstance('i1', 'v1', { epoch: 2, holder: 'beta', awaits: 'alpha' })], transfers: [desired] } },
      permits: { hasHeld: (_: string, epoch: number) => this.held >= epoch, hasSurrendered: () => false },
      board: { get: () => undefined },
      nudge: () => {},
    } as unknown as HostContext;
  }

  parts(tls: MoverTls): LiveParts {
    const guest = { process: this.#me, monitor: this.#monitor } as unknown as Guest;
    return {
      context: this.context,
      identity: () => tls,
      instances: {
        guest: () => (this.alive ? guest : undefined),
        resumeArrived: async () => {
          this.resumes += 1;
          this.held = 2;
          this.resume();
          return { ok: true };
        },
      },
      volumes: { get: () => ({ stage: 'incoming' }), update: async (_: string, { stage }: { stage: string }) => this.stages.push(stage) },
      report: {
        observe: (change: Partial<ObservedTransfer>) => Object.assign(this.told, change),
        remembered: () => 'a1',
        end: async (change: Partial<ObservedTransfer>) => Object.assign(this.told, change),
      },
    } as unknown as LiveParts;
  }
}

describe('the target of a live move that was given the release', () => {
  let tls: { readonly alpha: MoverTls; readonly beta: MoverTls };
  let host: Host;
  let receiver: LiveReceiver;
  let channel: Channel;

  beforeAll(async () => {
    const authority = await createTestAuthority();
    const of = async (name: string): Promise<MoverTls> => ({ ...(await authority.hostKey(name)), ca: authority.certificate });
    tls = { alpha: await of('alpha'), beta: await of('beta') };
  });
  beforeEach(async () => {
    const me = await readProcessIdentity(process.pid);
    if (me === undefined) throw new Error('this process is not to be seen');
    host = new Host(me);
    receiver = new LiveReceiver(host.parts(tls.beta), desired);
    await receiver.look(desired, false);
    const peer = { name: agentDnsName('beta'), address: '127.0.0.1', port: host.told.port ?? 0 };
    channel = await openChannel(peer, tls.alpha, new AbortController().signal);
  });
  afterEach(async () => {
    channel.close();
    await receiver.stop();
  });

  const release = async () => await channel.ask({ type: 'release', transferId: 't1', attempt: 'a1', surrender }, 5_000);

  it('lets the guest run and says so', async () => {
    expect(await release()).toEqual({ outcome: 'resumed' });
    await expect.poll(() => host.told.state).toBe('finished');
    expect(host.stages).toEqual(['arrived']);
  });

  it('does not say that it runs before it does, however often the permit was journaled', async () => {
    host.resume = () => {
      throw new Problem('unavailable', 'the monitor did not answer cont');
    };
    for (let time = 0; time < 3; time += 1) await expect(release()).rejects.toThrow('did not answer cont');
    expect(host.told.state).not.toBe('finished');
    expect(host.stages).toEqual([]);
    host.resume = () => {
      host.status = 'running';
    };
    expect(await release()).toEqual({ outcome: 'resumed' });
    expect(host.told.state).toBe('finished');
  });

  it('says that it runs when only the reply to the resume was lost, and resumes nothing twice', async () => {
    host.resume = () => {
      host.status = 'running';
      throw new Problem('unavailable', 'the reply was lost');
    };
    await expect(release()).rejects.toThrow('the reply was lost');
    expect(await release()).toEqual({ outcome: 'resumed' });
    expect(host.resumes).toBe(1);
  });

  it('keeps the disks of a guest whose process ended after it was let run, and lets nothing arrive in another', async () => {
    host.resume = () => {
      host.alive = false;
      throw new Problem('unavailable', 'the process ended');
    };
    const store = { get: () => undefined } as unknown as TransferStore;
    const live = new LiveReconciler({
      context: host.context,
      store,
      volumes: {} as never,
      identity: () => ({}) as never,
      onProgress: () => {},
    });
    expect(live.isArriving('i1')).toBe(true);
    await expect(release()).rejects.toThrow('the process ended');
    expect(live.isArriving('i1')).toBe(false);
    expect(await release()).toEqual({ outcome: 'resumed' });
    expect(host.stages).toEqual(['arrived']);
  });

  it('refuses when its process ended before that: the source goes on', async () => {
    host.alive = false;
    expect(await release()).toMatchObject({ outcome: 'refused' });
    expect(host.told.state).toBe('failed');
  });
});
