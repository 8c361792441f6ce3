import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { DesiredState, DesiredTransfer, Surrender, TransferSeed } from '@virt8ra/contract';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parseConfig } from '../config.js';
import { Board } from '../desired/board.js';
import { openLedger } from '../desired/ledger.js';
import { openQuarantine } from '../disk/quarantine.js';
import type { HostContext } from '../host-context.js';
import { silentLog } from '../log.js';
import { VolumeStore } from '../storage/volume-store.js';
import { smallInstance } from '../testing/desired-objects.js';
import type { Mover, MoverNotice, MoverPort, ReceiveConfig, SendConfig } from './mover-port.js';
import type { MovedGuests } from './send-source.js';
import { TransferReconciler } from './transfer-reconciler.js';
import { TransferStore } from './transfer-store.js';

/** A mover that does what the test says. */
class ScriptedMovers implements MoverPort {
  readonly asked: string[] = [];
  readonly configs: (SendConfig | ReceiveConfig)[] = [];
  say: (notice: MoverNotice) => void = () => {};
  die: () => void = () => {};

  send(config: SendConfig, onNotice: (notice: MoverNotice) => void): Mover {
    return this.#start('send', config, onNotice);
  }
  receive(config: ReceiveConfig, onNotice: (notice: MoverNotice) => void): Mover {
    return this.#start('receive', config, onNotice);
  }
  digest = async () => ({ root: 'r', chunkBytes: 1 });

  #start(role: string, config: SendConfig | ReceiveConfig, onNotice: (notice: MoverNotice) => void): Mover {
    this.asked.push(role);
    this.configs.push(config);
    this.say = onNotice;
    const exited = new Promise<void>((resolve) => {
      this.die = resolve;
    });
    return {
      finish: () => this.asked.push('finish'),
      hold: (holding) => this.asked.push(holding ? 'hold' : 'go-on'),
      abort: () => this.asked.push('abort'),
      kill: async () => {
        this.asked.push('kill');
        this.die();
      },
      exited,
    };
  }
}

let folder: string;
let movers: ScriptedMovers;
let board: Board;
let volumes: VolumeStore;
let transfers: TransferReconciler;
let released: string[];
let nowMs: number;
const heldImage = 'a'.repeat(64);
let want: (...list: DesiredTransfer[]) => Promise<void>;
let open: () => Promise<TransferReconciler>;
const disk = { volumeKey: 'v1', sizeBytes: 1024 * 1024 };
const send = (goal: 'copy' | 'finish' | 'abort', mode: 'warm' | 'cold' = 'cold'): DesiredTransfer => ({
  id: 't1',
  role: 'send',
  mode,
  instanceKey: 'i1',
  disks: [disk],
  peer: { name: 'beta.agents.virt8ra.internal', address: '127.0.0.1', port: 1 },
  minPasses: 2,
  goal,
  epoch: 1,
});
const receive = (goal: 'receive' | 'abort'): DesiredTransfer => ({
  id: 't1',
  role: 'receive',
  disks: [disk],
  peerName: 'alpha.agents.virt8ra.internal',
  goal,
});

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'v8t-'));
  const ledger = await openLedger(join(folder, 'ledger.json'), openQuarantine(folder, silentLog));
  let generation = 0;
  want = async (...list) => {
    generation += 1;
    const state: DesiredState = {
      generation,
      networks: [],
      volumes: [],
      instances: [smallInstance('i1', 'v1', { epoch: 1, holder: 'alpha' })],
      transfers: list,
    };
    await ledger.accept('e', state, []);
  };
  volumes = await VolumeStore.open(join(folder, 'volumes'), openQuarantine(folder, silentLog));
  board = new Board();
  movers = new ScriptedMovers();
  released = [];
  nowMs = 0;
  const context = {
    config: { ...parseConfig({ state: folder }, {}, () => '', 1000), runtimeDirectory: join(folder, 'run') },
    log: silentLog,
    clock: { bootId: 'b', sinceBootMs: () => nowMs, wallMs: () => Date.now() },
    ledger,
    board,
    permits: { hasSurrendered: () => released.length > 0 },
    dataAddress: () => '127.0.0.1',
    nudge: () => {},
  } as unknown as HostContext;
  const guests: MovedGuests = {
    guest: () => undefined,
    guestWith: () => undefined,
    release: async (key, instance, epoch) => {
      released.push(`${key} ${instance} ${epoch}`);
      return {} as Surrender;
    },
  };
  open = async () => {
    const parts = {
      context,
      store: await TransferStore.open(join(folder, 'transfers'), openQuarantine(folder, silentLog)),
      volumes,
      identity: () => ({ server: '', host: 'alpha', site: '', name: '', certificate: 'c', ca: 'ca', privateKey: 'k' }),
      onProgress: () => {},
    };
    const reconciler = new TransferReconciler(parts, movers, async (sha256) => (sha256 === heldImage ? join(folder, sha256) : undefined));
    reconciler.useInstances(guests);
    return reconciler;
  };
  transfers = await open();
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const state = () => board.get('transfer', 't1');
const volume = async (stage: 'ready' | 'incoming' | 'arrived') => {
  await volumes.begin('v1', disk.sizeBytes);
  await volumes.update('v1', { stage });
};

describe('a transfer that sends', () => {
  it('releases the permit after the mover’s last word and before it says finished', async () => {
    await volume('ready');
    await want(send('copy'));
    await transfers.pass('t1');
    expect(movers.configs[0]).toMatchObject({ mode: { type: 'cold' }, disks: [{ files: [volumes.files('v1').base] }] });
    expect(transfers.claimOn('i1')).toBe('stopped');
    expect(transfers.moves('v1')).toBe(true);
    movers.say({ type: 'converged' });
    expect(state()?.state).toBe('converged');
    await want(send('finish'));
    await transfers.pass('t1');
    expect(movers.asked).toEqual(['send', 'finish']);
    board.watch(({ object }) => {
      if (state()?.state === 'finished' && object.type === 'transfer') expect(released).toHaveLength(1);
    });
    movers.say({ type: 'finished', roots: ['root'], pauseMs: 12 });
    expect(state()?.state).toBe('finishing');
    await transfers.pass('t1');
    expect(released).toEqual(['i1 res_i1 1']);
    expect(state()).toMatchObject({ state: 'finished', roots: ['root'], pauseMs: 12 });
    expect(transfers.moves('v1')).toBe(false);
  });

  it('remembers that it is finished and does nothing again, also after a restart', async () => {
    await volume('ready');
    await want(send('finish'));
    await transfers.pass('t1');
    movers.say({ type: 'finished', roots: ['root'] });
    await transfers.pass('t1');
    const asked = movers.asked.length;
    const again = await open();
    await again.pass('t1');
    expect(movers.asked).toHaveLength(asked);
    expect(state()).toMatchObject({ state: 'finished', roots: ['root'] });
    await want(send('abort'));
    await again.pass('t1');
    expect(state()?.state).toBe('finished');
  });

  it('goes on with another mover when one fails or dies', async () => {
    await volume('ready');
    await want(send('copy'));
    await transfers.pass('t1');
    movers.say({ type: 'failed', code: 'unavailable', message: 'the peer is gone' });
    await expect(transfers.pass('t1')).rejects.toMatchObject({ kind: 'unavailable' });
    expect(state()?.problem?.message).toContain('the peer is gone');
    await transfers.pass('t1');
    expect(movers.asked).toEqual(['send', 'kill', 'send']);
    movers.die();
    await new Promise((resolve) => setImmediate(resolve));
    await transfers.pass('t1');
    expect(movers.asked.at(-1)).toBe('send');
    expect(released).toEqual([]);
  });

  it('waits for the guest that it should send warm', async () => {
    await volume('ready');
    await want(send('copy', 'warm'));
    expect(await transfers.pass('t1')).toBeGreaterThan(0);
    expect(movers.asked).toEqual([]);
    await want(send('finish', 'warm'));
    expect(transfers.claimOn('i1')).toBe('paused');
    await want(send('abort', 'warm'));
    expect(transfers.claimOn('i1')).toBeUndefined();
  });

  it('aborts without giving anything up', async () => {
    await volume('ready');
    await want(send('copy'));
    await transfers.pass('t1');
    await want(send('abort'));
    await transfers.pass('t1');
    expect(state()?.state).toBe('aborting');
    movers.say({ type: 'aborted' });
    await transfers.pass('t1');
    expect(state()?.state).toBe('aborted');
    expect(released).toEqual([]);
    expect(transfers.claimOn('i1')).toBeUndefined();
  });
});

describe('a failure that repeating cannot mend', () => {
  const fail = (code: string) => movers.say({ type: 'failed', code, message: `it is ${code}` });

  it('is a full disk at once, and ends as aborted when that is ordered', async () => {
    await volume('incoming');
    await want(receive('receive'));
    await transfers.pass('t1');
    fail('exhausted');
    expect(await transfers.pass('t1')).toBeUndefined();
    expect(state()).toMatchObject({ state: 'failed', problem: { code: 'exhausted', message: 'it is exhausted' } });
    await transfers.pass('t1');
    expect(movers.asked).toEqual(['receive', 'kill']);
    await want(receive('abort'));
    await transfers.pass('t1');
    expect(state()?.state).toBe('aborted');
    expect(state()).not.toHaveProperty('problem');
  });

  it('is tried once more by the next agent, as the disk may have room again', async () => {
    await volume('incoming');
    await want(receive('receive'));
    await transfers.pass('t1');
    fail('exhausted');
    await transfers.pass('t1');
    await (await open()).pass('t1');
    expect(movers.asked).toEqual(['receive', 'kill', 'receive']);
  });

  it('is one that stays the same for half a minute without a byte in between', async () => {
    await volume('ready');
    await want(send('copy'));
    const once = async (code: string) => {
      await transfers.pass('t1');
      fail(code);
      nowMs += 10_000;
      return await transfers.pass('t1').catch(() => undefined);
    };
    for (let attempt = 0; attempt < 4; attempt += 1) await once('conflict');
    expect(state()?.state).not.toBe('failed');
    // Something arrived, and the other end was away: both begin the count anew.
    await transfers.pass('t1');
    movers.say({ type: 'counters', passes: 0, bytes: 5, resentBytes: 0, chunkBytes: 1, streams: 1 });
    for (let attempt = 0; attempt < 4; attempt += 1) await once('conflict');
    await once('unavailable');
    for (let attempt = 0; attempt < 4; attempt += 1) await once('internal');
    expect(state()).toMatchObject({ state: 'copying', problem: { code: 'unavailable' } });
    await once('conflict');
    expect(state()).toMatchObject({ state: 'failed', problem: { code: 'conflict', message: 'it is conflict' } });
  });

  it('never is an other end that is away, however long', async () => {
    await volume('ready');
    await want(send('copy'));
    for (let attempt = 0; attempt < 50; attempt += 1) {
      await transfers.pass('t1');
      fail('unavailable');
      nowMs += 3_600_000;
      await expect(transfers.pass('t1')).rejects.toMatchObject({ kind: 'unavailable' });
    }
    expect(state()?.state).not.toBe('failed');
  });

  it('lets a guest run again that was paused for the last pass', async () => {
    await volume('ready');
    await want(send('finish'));
    await transfers.pass('t1');
    movers.say({ type: 'paused', at: new Date().toISOString() });
    await want({ ...send('finish'), mode: 'warm' } as DesiredTransfer);
    expect(transfers.claimOn('i1')).toBe('paused');
    fail('exhausted');
    await transfers.pass('t1');
    expect(state()?.state).toBe('failed');
    expect(transfers.claimOn('i1')).toBeUndefined();
  });
});

describe('the folders of sockets', () => {
  const run = () => join(folder, 'run');
  const begin = async () => {
    await volume('ready');
    await want(send('copy'));
    await transfers.pass('t1');
    expect(existsSync(join(run(), 't-t1'))).toBe(true);
  };

  it('go when a transfer is finished', async () => {
    await begin();
    movers.say({ type: 'finished', roots: ['root'] });
    await transfers.pass('t1');
    expect(readdirSync(run())).toEqual([]);
  });

  it('go when a transfer is aborted', async () => {
    await begin();
    await want(send('abort'));
    await transfers.pass('t1');
    movers.say({ type: 'aborted' });
    await transfers.pass('t1');
    expect(readdirSync(run())).toEqual([]);
  });

  it('go when a transfer is forgotten while it runs', async () => {
    await begin();
    await want();
    await transfers.pass('t1');
    expect(readdirSync(run())).toEqual([]);
  });

  it('are swept away at the start, but for transfers that go on', async () => {
    await begin();
    for (const left of ['t-gone', join('digests', 'abc'), 'guests']) mkdirSync(join(run(), left), { recursive: true });
    await (await open()).sweep();
    expect(readdirSync(run()).toSorted()).toEqual(['guests', 't-t1']);
    movers.say({ type: 'finished', roots: ['root'] });
    await transfers.pass('t1');
    mkdirSync(join(run(), 't-t1'));
    await (await open()).sweep();
    expect(readdirSync(run())).toEqual(['guests']);
  });
});

describe('an order to abort', () => {
  it('counts as long as nothing was given up, though the mover is done', async () => {
    await volume('ready');
    await want(send('finish'));
    await transfers.pass('t1');
    movers.say({ type: 'finished', roots: ['root'] });
    await want(send('abort'));
    await transfers.pass('t1');
    expect(released).toEqual([]);
    expect(state()?.state).toBe('aborted');
  });
});

describe('a transfer that receives', () => {
  it('waits for its volume, tells where it listens, and keeps what arrived below an overlay', async () => {
    await want(receive('receive'));
    expect(await transfers.pass('t1')).toBeGreaterThan(0);
    const { createBlank } = await import('../storage/qemu-img.js');
    const { base } = await volumes.begin('v1', disk.sizeBytes);
    await createBlank(base, disk.sizeBytes);
    await volumes.update('v1', { stage: 'incoming' });
    await transfers.pass('t1');
    movers.say({ type: 'listening', address: '127.0.0.1', port: 4711 });
    expect(state()).toMatchObject({ state: 'listening', port: 4711 });
    movers.say({ type: 'counters', passes: 1, bytes: 5, resentBytes: 0, chunkBytes: 1, streams: 1 });
    expect(state()).toMatchObject({ state: 'copying', bytes: 5, port: 4711 });
    movers.say({ type: 'finished', roots: ['root'] });
    await transfers.pass('t1');
    expect(state()).toMatchObject({ state: 'finished', roots: ['root'], bytes: 5 });
    expect(volumes.get('v1')?.stage).toBe('arrived');
    expect(await volumes.hasOverlay('v1')).toBe(true);
  });

  it('is answered for after its end, also by one other receiver after a restart, which changes nothing of it', async () => {
    const { createBlank } = await import('../storage/qemu-img.js');
    await createBlank((await volumes.begin('v1', disk.sizeBytes)).base, disk.sizeBytes);
    await volumes.update('v1', { stage: 'incoming' });
    await want(receive('receive'));
    await transfers.pass('t1');
    movers.say({ type: 'finished', roots: ['root'] });
    await transfers.pass('t1');
    expect(movers.asked).toEqual(['receive']);
    const again = await open();
    await again.pass('t1');
    movers.say({ type: 'listening', address: '127.0.0.1', port: 4711 });
    movers.say({ type: 'finished', roots: ['root'] });
    await again.pass('t1');
    expect(movers.asked).toEqual(['receive', 'receive']);
    expect(state()).toMatchObject({ state: 'finished', roots: ['root'] });
    expect(volumes.get('v1')?.stage).toBe('arrived');
  });

  it('is over after all when the agent died between the arrival of its volumes and its word', async () => {
    await volume('arrived');
    await want(receive('receive'));
    await transfers.pass('t1');
    expect(movers.asked).toEqual(['receive']);
    movers.say({ type: 'finished', roots: ['root'] });
    await transfers.pass('t1');
    expect(state()).toMatchObject({ state: 'finished', roots: ['root'] });
    expect(volumes.get('v1')?.stage).toBe('arrived');
  });

  it('never writes over a volume that is whole', async () => {
    await volume('ready');
    await want(receive('receive'));
    await expect(transfers.pass('t1')).rejects.toMatchObject({ kind: 'conflict' });
    expect(movers.asked).toEqual([]);
  });
});

describe('a transfer that arrives where something similar is', () => {
  it('tells its receiver where that lies, or why it cannot serve, and shows what came of it', async () => {
    const sizeBytes = 1024 * 1024;
    for (const key of ['v1', 'v2', 'v3', 'v4']) await volumes.begin(key, sizeBytes);
    await volumes.update('v1', { stage: 'incoming' });
    await volumes.update('v2', { stage: 'incoming' });
    await volumes.update('v3', { stage: 'arrived' });
    const one = (volumeKey: string, seed?: TransferSeed) => ({ volumeKey, sizeBytes, ...(seed === undefined ? {} : { seed }) });
    const order = { id: 't1', role: 'receive', peerName: 'alpha.agents.virt8ra.internal', goal: 'receive' } as const;
    await want({ ...order, disks: [one('v1', { volumeKey: 'v3' }), one('v2', { volumeKey: 'v4' })] });
    await transfers.pass('t1');
    const { base, overlay } = volumes.files('v3');
    expect(movers.configs[0]?.disks).toMatchObject([
      { file: volumes.files('v1').base, seed: { files: [overlay, base], format: 'qcow2' } },
      { file: volumes.files('v2').base, seed: { problem: { code: 'not-found', message: expect.stringContaining('v4') } } },
    ]);
    const seeds = [{ bytes: 7 }, { bytes: 0, problem: { code: 'not-found', message: 'm' } }];
    movers.say({ type: 'listening', address: '127.0.0.1', port: 1, seeds });
    expect(state()).toMatchObject({ state: 'listening', seeds });

    await want({ ...order, id: 't2', disks: [one('v1', { sha256: 'b'.repeat(64), format: 'raw' })] });
    await transfers.pass('t2');
    expect(movers.configs[1]?.disks).toMatchObject([
      { seed: { problem: { code: 'not-found', message: expect.stringContaining('bbbb') } } },
    ]);
  });
});
