import type { OverlayPeer } from '@virt8ra/contract';
import type { ConfiguredPeer } from './tunnel-device.js';

/** Seconds between packets that keep a way through NAT open. */
const keepaliveSeconds = '25';

/** What `wg set … peer KEY` is to be told. */
export interface PeerChange {
  readonly publicKey: string;
  readonly words: readonly string[];
}

/** The key a peer uses now: the one it agreed on last; of two that it never used, the first. */
export function keyInUse(
  { publicKeys: [first = '', second] }: Pick<OverlayPeer, 'publicKeys'>,
  configured: readonly ConfiguredPeer[],
): string {
  if (second === undefined) return first;
  const agreedAt = (key: string) => configured.find(({ publicKey }) => publicKey === key)?.handshakeAt ?? 0;
  return agreedAt(second) > agreedAt(first) ? second : first;
}

/**
 * What must change for a device to have exactly these peers. An address belongs to one key at a time, so that of two valid keys the one in
 * use has it and the other can only agree on keys. An endpoint that works is left alone: the device itself follows a peer that moves.
 * `endpointOf` chooses among a peer's candidates; `stuck` says that the configured one has not worked and is to be replaced.
 */
export function peerChanges(
  peers: readonly OverlayPeer[],
  configured: readonly ConfiguredPeer[],
  endpointOf: (peer: OverlayPeer) => string | undefined,
  stuck: (peer: OverlayPeer) => boolean,
): readonly PeerChange[] {
  const wanted = new Set(peers.flatMap(({ publicKeys }) => publicKeys));
  const changes: PeerChange[] = configured
    .filter(({ publicKey }) => !wanted.has(publicKey))
    .map(({ publicKey }) => ({ publicKey, words: ['remove'] }));
  for (const peer of peers) {
    const active = keyInUse(peer, configured);
    const allowed = `${peer.address}/128`;
    const endpoint = endpointOf(peer);
    for (const publicKey of peer.publicKeys) {
      const has = configured.find((each) => each.publicKey === publicKey);
      if (publicKey !== active) {
        if (has === undefined) changes.push({ publicKey, words: ['persistent-keepalive', '0'] });
        continue;
      }
      const words: string[] = [];
      if (has?.allowedIps.length !== 1 || has.allowedIps[0] !== allowed) {
        words.push('persistent-keepalive', keepaliveSeconds, 'allowed-ips', allowed);
      }
      if (endpoint !== undefined && has?.endpoint !== endpoint && (has?.endpoint === undefined || stuck(peer)))
        words.push('endpoint', endpoint);
      if (words.length > 0) changes.push({ publicKey, words });
    }
  }
  return changes;
}
