import type { DesiredOverlay, OverlayFacts, OverlayPeer, OverlayReport } from '@virt8ra/contract';

/** A host as the plan sees it. */
export interface OverlayHost {
  readonly host: string;
  /** Order in which hosts were added. */
  readonly order: number;
  /** Undefined: its agent has not said, or knows nothing of overlays. */
  readonly facts: OverlayFacts | undefined;
  /** Of its end of the tunnels. */
  readonly address: string;
  /** How often it was told to change its key. */
  readonly rotation: number;
  /** What it measured last, of whatever age. */
  readonly report: OverlayReport | undefined;
}

export interface NetworkOnHost {
  readonly host: string;
  readonly vni: number;
  readonly mtu: number;
}

/** Hosts of which the agent has said nothing share bridges with nobody. */
export function segmentOf({ host, facts }: Pick<OverlayHost, 'host' | 'facts'>): string {
  return facts?.segment ?? `host/${host}`;
}

/** Whether a host can carry the overlay for its machine. */
export function canCarry({ facts }: Pick<OverlayHost, 'facts'>): boolean {
  return facts !== undefined && facts.mode !== 'none' && facts.publicKey !== undefined;
}

/**
 * The one host of each machine that has its tunnels, by segment: the first that was added of those that can, so that newcomers change
 * nothing. Two would make a loop of their bridge.
 */
export function carriersOf(hosts: readonly OverlayHost[]): ReadonlyMap<string, OverlayHost> {
  const carriers = new Map<string, OverlayHost>();
  for (const host of hosts) {
    if (!canCarry(host)) continue;
    const segment = segmentOf(host);
    const chosen = carriers.get(segment);
    if (chosen === undefined || before(host, chosen)) carriers.set(segment, host);
  }
  return carriers;
}

function before(one: OverlayHost, other: OverlayHost): boolean {
  return one.order < other.order || (one.order === other.order && one.host < other.host);
}

/**
 * What each carrier is to make true: a tunnel to every carrier that shares a network with it, and no other. A network that is on one machine
 * only has none. Hosts that are absent in the answer have no overlay.
 */
export function planOverlay(hosts: readonly OverlayHost[], networks: readonly NetworkOnHost[]): ReadonlyMap<string, DesiredOverlay> {
  const carriers = carriersOf(hosts);
  const segments = new Map(hosts.map((host) => [host.host, segmentOf(host)]));
  // Network → machines that have it and a carrier → its MTU there.
  const spread = new Map<number, Map<string, number>>();
  for (const { host, vni, mtu } of networks) {
    const segment = segments.get(host);
    if (segment === undefined || !carriers.has(segment)) continue;
    const machines = spread.get(vni) ?? new Map<string, number>();
    machines.set(segment, Math.min(mtu, machines.get(segment) ?? mtu));
    spread.set(vni, machines);
  }
  const plans = new Map<string, { readonly peers: Map<string, OverlayHost>; readonly networks: DesiredOverlay['networks'] }>();
  for (const [vni, machines] of [...spread].sort(([one], [other]) => one - other)) {
    if (machines.size < 2) continue;
    const members = [...machines].flatMap(([segment, mtu]) => {
      const carrier = carriers.get(segment);
      return carrier === undefined ? [] : [{ carrier, mtu }];
    });
    for (const { carrier, mtu } of members) {
      const plan = plans.get(carrier.host) ?? { peers: new Map<string, OverlayHost>(), networks: [] };
      const others = members.filter((member) => member.carrier !== carrier).map((member) => member.carrier);
      for (const other of others) plan.peers.set(other.host, other);
      plan.networks.push({ vni, mtu, peers: others.map(({ address }) => address).sort() });
      plans.set(carrier.host, plan);
    }
  }
  const byHost = new Map(hosts.map((host) => [host.host, host]));
  const planned = new Map<string, DesiredOverlay>();
  for (const [host, plan] of plans) {
    const self = byHost.get(host);
    if (self === undefined) continue;
    const peers = [...plan.peers.values()].sort((one, other) => (one.host < other.host ? -1 : 1));
    const accepted = acceptedKey(self, peers);
    planned.set(host, {
      address: self.address,
      peers: peers.map(peerFrom),
      networks: plan.networks,
      rotation: self.rotation,
      ...(accepted === undefined ? {} : { acceptedKey: accepted }),
    });
  }
  return planned;
}

function peerFrom({ host, address, facts }: OverlayHost): OverlayPeer {
  return {
    host,
    address,
    publicKeys: [facts?.publicKey, facts?.nextPublicKey].filter((key) => key !== undefined),
    endpoints: [...(facts?.endpoints ?? [])],
  };
}

/** The host's next key, once every peer has it: before, one that has not would be cut off. */
function acceptedKey({ host, facts }: OverlayHost, peers: readonly OverlayHost[]): string | undefined {
  const next = facts?.nextPublicKey;
  if (next === undefined) return undefined;
  const taken = peers.every(({ report }) => report?.peers.some((peer) => peer.host === host && peer.publicKeys.includes(next)) === true);
  return taken ? next : undefined;
}
