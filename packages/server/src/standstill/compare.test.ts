import { describe, expect, it } from 'vitest';
import { type Comparison, compare, type HostThing, thingId } from './compare.js';

const instance = (host: string, key: string, object: object = {}): HostThing => ({
  host,
  type: 'instance',
  key,
  object: { key, instance: key.slice(0, -3), state: 'running', restarts: 0, access: [], ...object },
});
const volume = (host: string, key: string): HostThing => ({ host, type: 'volume', key, object: { key, state: 'ready', sizeBytes: 1e9 } });
const told = (...things: HostThing[]): ReadonlyMap<string, unknown> =>
  new Map(things.map(({ type, key, object }) => [thingId(type, key), object]));

/** Instance `res_web` with disk `res_disk`, which the database has on host a under epoch 1. */
function world(change: Partial<Comparison>): Comparison {
  const row = { role: 'primary', host: 'a', state: 'present' } as const;
  return {
    hosts: [
      { host: 'a', site: 's', told: new Map() },
      { host: 'b', site: 's', told: new Map() },
    ],
    observed: [],
    desired: [],
    realizations: [
      { ...row, id: 'rlz_1', resourceUid: 'res_web', facet: 'instances', key: 'res_web-g1' },
      { ...row, id: 'rlz_2', resourceUid: 'res_disk', facet: 'blockStorages', key: 'res_disk-g1' },
    ],
    permits: new Map([['res_web', { epoch: 1, holder: 'a' }]]),
    resources: new Map([
      ['res_web', { kind: 'instance', name: 'web' }],
      ['res_disk', { kind: 'block-storage', name: 'disk' }],
    ]),
    volumesOf: new Map([['res_web', ['res_disk']]]),
    ...change,
  };
}
const said = (change: Partial<Comparison>): string[] =>
  compare(world(change)).map(({ class: what, type, host, from, decided }) => `${what} ${type} ${from ?? ''}>${host} ${decided}`);

describe('what differs after a restore', () => {
  it('is nothing where hosts have what the database says', () => {
    expect(said({ observed: [instance('a', 'res_web-g1', { permitEpoch: 1 }), volume('a', 'res_disk-g1')] })).toEqual([]);
  });

  it('is a move to whoever holds the later epoch, also while the source still has everything', () => {
    const there = instance('b', 'res_web-g2', { permitEpoch: 2 });
    const hosts = [
      { host: 'a', site: 's', told: new Map() },
      { host: 'b', site: 's', told: told({ ...there, object: { permit: { epoch: 2, holder: 'b' } } }, volume('b', 'res_disk-g2')) },
    ];
    const surrender = { epoch: 1 };
    expect(
      said({
        hosts,
        observed: [instance('a', 'res_web-g1', { surrender }), volume('a', 'res_disk-g1'), there, volume('b', 'res_disk-g2')],
      }),
    ).toEqual(['moved volume a>b true', 'moved instance a>b true']);
    // A host that cannot say what it was told cannot be followed, and nothing is made up.
    expect(said({ observed: [there, volume('b', 'res_disk-g2')] })).toEqual(['moved volume a>b false', 'moved instance a>b false']);
  });

  it('is not a move back: an epoch that was given up counts no more, whoever still has the guest’s record', () => {
    expect(said({ observed: [instance('a', 'res_web-g1', { surrender: { epoch: 1 } }), volume('a', 'res_disk-g1')] })).toEqual([
      'changed instance >a false',
    ]);
  });

  it('never follows an epoch that is lower than the database’s', () => {
    const permits = new Map([['res_web', { epoch: 3, holder: 'a' }]]);
    const found = compare(world({ permits, observed: [instance('a', 'res_web-g1', { permitEpoch: 2 }), volume('a', 'res_disk-g1')] }));
    expect(found).toMatchObject([{ class: 'changed', fields: [{ field: 'permitEpoch', database: '3', host: '2' }], decided: false }]);
  });

  it('says gone of what a compared host lacks, and nothing of what is on a host that was not heard', () => {
    expect(said({})).toEqual(['gone volume >a false', 'gone instance >a false']);
    expect(said({ hosts: [{ host: 'b', site: 's', told: new Map() }] })).toEqual([]);
  });

  it('calls unknown what no resource is known for, and further copies of what is', () => {
    const observed = [
      instance('a', 'res_web-g1', { permitEpoch: 1 }),
      volume('a', 'res_disk-g1'),
      volume('b', 'res_disk-g2'),
      instance('b', 'res_new-g1', { permitEpoch: 1 }),
    ];
    expect(said({ observed })).toEqual(['unknown volume >b true', 'unknown instance >b true']);
  });

  it('adopts power and later epochs by itself, and leaves size and disks to the owner', () => {
    const here = { ...instance('a', 'res_web-g1', { permitEpoch: 1 }), object: { permitEpoch: 1, restarts: 0 } };
    const desired = [{ ...here, object: { power: 'on', vCPU: 1 } }];
    const of = (object: object): boolean[] =>
      compare(
        world({
          hosts: [{ host: 'a', site: 's', told: told({ ...here, object }) }],
          observed: [here, volume('a', 'res_disk-g1')],
          desired,
        }),
      ).map(({ decided }) => decided);
    expect(of({ power: 'off', vCPU: 1 })).toEqual([true]);
    expect(of({ power: 'on', vCPU: 2 })).toEqual([false]);
    expect(of({ power: 'on', vCPU: 1 })).toEqual([]);
  });
});
