import type { DesiredState, DesiredTransfer, ObservedInstance, ObservedTransfer } from '@virt8ra/contract';
import { describe, expect, it } from 'vitest';
import { silentLog } from '../log.js';
import { blankVolume, smallInstance } from '../testing/desired-objects.js';
import { Board } from './board.js';
import { Converger } from './converger.js';
import type { Launched } from './dependents.js';
import { objectId, objectsOf } from './host-object.js';
import { LookAgain } from './look-again.js';

const permit = { epoch: 1, holder: 'host' };
const network = (key: string) => ({ key, vni: 1, mtu: 1400, gateways: [] });
const nic = (key: string, networkKey: string, filters?: string[]) => ({
  key,
  networkKey,
  mac: '52:54:00:00:00:01',
  addresses: [],
  nameservers: [],
  ...(filters === undefined ? {} : { filters }),
});
const filter = (key: string, networkKey: string, members: string[] = []) => ({ key, networkKey, rules: [], members });

/** Two instances that share nothing but a network and a group, and a third alone. */
const start: DesiredState = {
  generation: 1,
  networks: [network('n'), network('m')],
  volumes: [blankVolume('v1', 1), blankVolume('v2', 1), blankVolume('v3', 1)],
  instances: [
    smallInstance('i1', 'v1', permit, { nics: [nic('c1', 'n', ['g'])] }),
    smallInstance('i2', 'v2', permit, { nics: [nic('c2', 'n', ['g'])] }),
    smallInstance('i3', 'v3', permit, { nics: [nic('c3', 'm')] }),
  ],
  transfers: [],
  filters: [filter('g', 'n')],
};

/** A host whose objects are all at rest, and which of them are looked at. */
async function restingHost() {
  let state = start;
  const board = new Board();
  const looked: string[] = [];
  const failing = new Set<string>();
  const launched: Launched[] = [];
  const converger = new Converger(async (object) => {
    looked.push(objectId(object));
    if (failing.has(objectId(object))) throw new Error('it fails');
    return undefined;
  }, silentLog);
  const settle = async () => await new Promise((resolve) => setTimeout(resolve, 20));
  const everything = () => [...new Map([...objectsOf(state), ...board.objects()].map((object) => [objectId(object), object])).values()];
  for (const { type, key } of objectsOf(state)) {
    if (type === 'instance') board.post(type, key, { key, instance: `res_${key}`, state: 'running', since: '', restarts: 0, access: [] });
    else if (type === 'volume') board.post(type, key, { key, state: 'ready', sizeBytes: 1 });
    else if (type === 'network') board.post(type, key, { key, state: 'ready', mode: 'bridge' });
    else if (type === 'filter') board.post(type, key, { key, state: 'ready' });
  }
  const lookAgain = new LookAgain({ converger, board, state: () => state, launched: () => launched, everything });
  board.watch((change) => lookAgain.seen(change));
  /** Looks that came of what was done, sorted. */
  const looksAfter = async (act: () => void) => {
    looked.length = 0;
    act();
    await settle();
    return [...looked].sort();
  };
  return {
    board,
    failing,
    launched,
    looked,
    looksAfter,
    looksAt: async (change: Partial<DesiredState>) =>
      await looksAfter(() => {
        const before = state;
        state = { ...state, ...change, generation: state.generation + 1 };
        lookAgain.accepted(before);
      }),
  };
}

const without = <Object extends { key: string }>(list: readonly Object[], key: string) => list.filter((each) => each.key !== key);

describe('what is looked at again', () => {
  it('is nothing when the same is desired under another generation', async () => {
    expect(await (await restingHost()).looksAt({})).toEqual([]);
  });

  it('is a changed group and its network, and none of the guests that have it', async () => {
    expect(await (await restingHost()).looksAt({ filters: [filter('g', 'n', ['10.0.0.1'])] })).toEqual(['filter/g', 'network/n']);
  });

  it('is a new instance with its network and groups, and no other instance', async () => {
    const host = await restingHost();
    const made = smallInstance('i4', 'v4', permit, { nics: [nic('c4', 'n', ['g'])] });
    const looks = await host.looksAt({ volumes: [...start.volumes, blankVolume('v4', 1)], instances: [...start.instances, made] });
    expect(looks).toEqual(['filter/g', 'instance/i4', 'network/n', 'volume/v4']);
  });

  it('is the guest of a volume whose limits changed', async () => {
    const limited = { ...blankVolume('v1', 1), limits: { iops: 100 } };
    const host = await restingHost();
    expect(await host.looksAt({ volumes: [limited, ...without(start.volumes, 'v1')] })).toEqual(['instance/i1', 'volume/v1']);
  });

  it('is the guest that has a volume without being meant to, when that changes', async () => {
    const host = await restingHost();
    host.launched.push({ key: 'i2', volumeKeys: ['v2', null, 'v1'], networkKeys: ['n'] });
    const looks = await host.looksAfter(() => host.board.post('volume', 'v1', { key: 'v1', state: 'settling', sizeBytes: 1 }));
    expect(looks).toEqual(['instance/i1', 'instance/i2']);
  });

  it('is what a network keeps waiting, once it is seen to be ready', async () => {
    const host = await restingHost();
    await host.looksAfter(() => host.board.post('network', 'n', { key: 'n', state: 'failed', mode: 'bridge' }));
    const looks = await host.looksAfter(() => host.board.post('network', 'n', { key: 'n', state: 'ready', mode: 'bridge' }));
    expect(looks).toEqual(['filter/g', 'instance/i1', 'instance/i2']);
  });

  it('is a guest and its disks at both ends of a transfer’s life', async () => {
    const host = await restingHost();
    const transfer: DesiredTransfer = {
      id: 't1',
      role: 'send',
      mode: 'cold',
      instanceKey: 'i1',
      disks: [{ volumeKey: 'v1', sizeBytes: 1 }],
      peer: { name: 'other', address: '127.0.0.1', port: 1 },
      goal: 'copy',
      epoch: 1,
      minPasses: 0,
    };
    expect(await host.looksAt({ transfers: [transfer] })).toEqual(['instance/i1', 'transfer/t1', 'volume/v1']);
    const counters = { passes: 0, bytes: 0, resentBytes: 0, chunkBytes: 1, streams: 1 };
    const seen: ObservedTransfer = { id: 't1', role: 'send', state: 'copying', ...counters };
    await host.looksAfter(() => host.board.post('transfer', 't1', seen));
    await host.looksAt({ transfers: [] });
    expect(await host.looksAfter(() => host.board.remove({ type: 'transfer', key: 't1' }))).toEqual(['instance/i1', 'volume/v1']);
  });

  it('is also whatever waits, failed, or should be gone, whatever changed', async () => {
    const host = await restingHost();
    const waiting: ObservedInstance = { key: 'i3', instance: 'res_i3', state: 'waiting', since: '', restarts: 0, access: [] };
    await host.looksAfter(() => host.board.post('instance', 'i3', waiting));
    await host.looksAt({ volumes: without(start.volumes, 'v2') });
    host.failing.add('volume/v1');
    await host.looksAt({ volumes: [{ ...blankVolume('v1', 2) }, blankVolume('v3', 1)] });
    const looks = await host.looksAt({ filters: [filter('g', 'n', ['10.0.0.1'])] });
    expect(looks).toEqual(expect.arrayContaining(['instance/i3', 'volume/v2', 'filter/g', 'network/n']));
    expect(looks).not.toContain('instance/i1');
    host.failing.clear();
    // Heard after the pause that keeps failures from spinning.
    await host.looksAt({ maintenance: true });
    await expect.poll(() => host.looked, { timeout: 5_000 }).toContain('volume/v1');
  });
});
