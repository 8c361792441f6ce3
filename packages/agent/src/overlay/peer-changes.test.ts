import type { OverlayPeer } from '@virt8ra/contract';
import { describe, expect, it } from 'vitest';
import { peerChanges } from './peer-changes.js';
import { type ConfiguredPeer, parseDump } from './tunnel-device.js';

const peer: OverlayPeer = { host: 'b', address: 'fd00::b', publicKeys: ['old'], endpoints: ['192.0.2.2:8482'] };
const has = (publicKey: string, more: Partial<ConfiguredPeer> = {}): ConfiguredPeer => ({
  publicKey,
  endpoint: '192.0.2.2:8482',
  allowedIps: ['fd00::b/128'],
  handshakeAt: 10,
  ...more,
});
const changes = (peers: readonly OverlayPeer[], configured: readonly ConfiguredPeer[], stuck = false) =>
  peerChanges(
    peers,
    configured,
    ({ endpoints }) => endpoints[0],
    () => stuck,
  );

describe('what a tunnel device is told of its peers', () => {
  it('is nothing when it has them already, and an endpoint that works is left alone', () => {
    expect(changes([peer], [has('old')])).toEqual([]);
    expect(changes([peer], [has('old', { endpoint: '198.51.100.9:1' })])).toEqual([]);
    expect(changes([peer], [has('old', { endpoint: '198.51.100.9:1' })], true)).toEqual([
      { publicKey: 'old', words: ['endpoint', '192.0.2.2:8482'] },
    ]);
  });

  it('takes away every key that belongs to no peer, whoever put it there', () => {
    expect(changes([], [has('old'), has('planted', { allowedIps: [] })])).toEqual([
      { publicKey: 'old', words: ['remove'] },
      { publicKey: 'planted', words: ['remove'] },
    ]);
  });

  it('takes back an address that a peer was given beyond its own', () => {
    const [change] = changes([peer], [has('old', { allowedIps: ['fd00::b/128', '::/0'] })]);
    expect(change).toMatchObject({ publicKey: 'old', words: expect.arrayContaining(['allowed-ips', 'fd00::b/128']) });
  });

  it('gives the address to a new key only when that was agreed on after the old one', () => {
    const both = { ...peer, publicKeys: ['old', 'new'] };
    expect(changes([both], [has('old')])).toEqual([{ publicKey: 'new', words: ['persistent-keepalive', '0'] }]);
    const waiting = has('new', { allowedIps: [], endpoint: undefined, handshakeAt: 0 });
    expect(changes([both], [has('old'), waiting])).toEqual([]);
    const agreed = { ...waiting, handshakeAt: 11, endpoint: '192.0.2.2:8482' };
    expect(changes([both], [has('old'), agreed])).toEqual([
      { publicKey: 'new', words: ['persistent-keepalive', '25', 'allowed-ips', 'fd00::b/128'] },
    ]);
  });
});

it('leaves the private key where it is when it reads what a device has', () => {
  const text =
    'PRIVATE\tPUBLIC\t8482\toff\nKEY\t(none)\t192.0.2.2:8482\tfd00::b/128\t17\t1\t2\t25\nOTHER\t(none)\t(none)\t(none)\t0\t0\t0\toff\n';
  const state = parseDump(text);
  expect(JSON.stringify(state)).not.toContain('PRIVATE');
  expect(state).toMatchObject({ publicKey: 'PUBLIC', port: 8482 });
  expect(state.peers).toEqual([
    { publicKey: 'KEY', endpoint: '192.0.2.2:8482', allowedIps: ['fd00::b/128'], handshakeAt: 17 },
    { publicKey: 'OTHER', endpoint: undefined, allowedIps: [], handshakeAt: 0 },
  ]);
});
