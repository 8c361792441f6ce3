import { describe, expect, it } from 'vitest';
import { memoryCapabilities, smallInventory } from '../../testing/site-facts.js';
import { type PreflightFacts, preflight } from './preflight.js';

const at = '2026-05-01T12:00:00Z';
type Inventory = NonNullable<NonNullable<PreflightFacts['from']['seen']>['inventory']>;
const seen = (host: string, change: Partial<Inventory> = {}): PreflightFacts['from']['seen'] => ({
  host,
  connected: true,
  networking: [],
  observedAt: at,
  inventory: smallInventory(host, change),
});
const end = (host: string, change: Partial<Inventory> = {}) => ({ site: host[0] ?? '', host, seen: seen(host, change), clockSeconds: 0 });
const plain: PreflightFacts = {
  name: 'web',
  mode: 'warm',
  from: end('a-1'),
  to: { ...end('b-1'), capabilities: memoryCapabilities },
  volumes: [{ name: 'boot', sizeBytes: 10e9, allocatedBytes: 2e9 }],
  nics: 1,
  devices: 0,
  isEmulated: false,
  publicIpsLost: [],
  forecast: undefined,
};
const to = (change: Partial<Inventory>): Partial<PreflightFacts> => ({
  to: { ...end('b-1', change), capabilities: memoryCapabilities },
});
const storage = (freeBytes: number, totalBytes = 1e12) => ({ storage: { freeBytes, totalBytes } });
const bridge = { network: { mode: 'bridge' as const, reason: '' } };

describe('preflight', () => {
  it('finds nothing but what is kept where all is well', () => {
    expect(preflight(plain)).toMatchObject([{ code: 'identity-kept', severity: 'info', what: expect.stringContaining('MAC') }]);
  });

  it.each<[string, string, string, Partial<PreflightFacts>]>([
    ['more NICs than the site gives', 'blocks', 'too-many-nics', { nics: 9 }],
    [
      'more disks than the site gives',
      'blocks',
      'too-many-disks',
      { volumes: Array.from({ length: 9 }, (_, index) => ({ name: `d${index}`, sizeBytes: 1, allocatedBytes: 1 })) },
    ],
    ['a disk that no room of the host could hold', 'blocks', 'disk-over-limit', to(storage(9e9, 9e9))],
    ['no room for the copy', 'blocks', 'target-room', to(storage(1e9))],
    ['room for the copy and for nothing more', 'warns', 'target-room', to(storage(2.1e9))],
    ['little room at the source', 'warns', 'source-room', { from: end('a-1', storage(1e8)) }],
    ['a source that is away', 'blocks', 'source-away', { from: { ...end('a-1'), seen: undefined } }],
    ['a source in maintenance', 'warns', 'source-maintenance', { from: end('a-1', { maintenance: true }) }],
    ['what a host tells of itself', 'warns', 'host-raid', to({ findings: [{ code: 'raid', message: 'a disk failed' }] })],
    ['a clock that is off', 'warns', 'clock', { to: { ...end('b-1'), clockSeconds: -7, capabilities: memoryCapabilities } }],
    ['an island at the target', 'warns', 'network-mode', { from: end('a-1', bridge) }],
    ['hosts that are no segment', 'warns', 'network-apart', { from: end('a-1', { ...bridge, bootId: 'x' }), ...to(bridge) }],
    [
      'a limit of the target’s networks',
      'warns',
      'network-limit',
      to({ network: { mode: 'user', reason: '', limits: ['IPv6 does not leave'] } }),
    ],
    ['devices that do not go along', 'warns', 'devices-change', { devices: 1 }],
    ['public IPs that stay', 'warns', 'public-ips-lost', { publicIpsLost: ['public IP www (192.0.2.1)'] }],
    ['an emulated guest that must stand still', 'warns', 'emulated-stands-still', { mode: 'live', isEmulated: true }],
  ])('finds %s', (_, severity, code, change) => {
    const found = preflight({ ...plain, ...change }).filter((each) => each.code === code);
    expect(found).toMatchObject([{ severity, code }]);
    for (const { what, where, mend } of found) expect(Math.min(what.length, where.length, mend.length)).toBeGreaterThan(3);
  });

  it('tells what blocks before what warns, and that before what is only good to know', () => {
    const found = preflight({ ...plain, devices: 1, nics: 9 });
    expect(found.map(({ severity }) => severity)).toEqual(['blocks', 'warns', 'info']);
  });
});
