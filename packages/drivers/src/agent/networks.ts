import type { DesiredNetwork } from '@virt8ra/contract';
import type { NetworkNames, NetworkRealizationSpec, NetworkRealizationStatus, NetworksFacet } from '@virt8ra/driver';
import { assertSame, createObjectFacet, type ObjectTranslation, type SiteFleet } from './object-facet.js';

const translation: ObjectTranslation<'network', NetworkRealizationSpec, NetworkRealizationStatus> = {
  type: 'network',
  toDesired: ({ vni, mtu, gateways, routes = [], names, neighbours = [] }, { key, features }) => ({
    key,
    vni,
    mtu,
    gateways: [...gateways],
    ...(routes.length === 0 ? {} : { routes: routes.map(({ source, destination, via }) => ({ source, destination, via })) }),
    ...(neighbours.length === 0 || !features.has('neighbours') ? {} : { neighbours: neighbours.slice(0, mostNeighbours) }),
    ...(features.has('dhcp') ? { dhcp: true } : {}),
    ...(names === undefined || !features.has('dns') ? {} : { dns: dnsFrom(names) }),
  }),
  assertChangeable: (from, to) => assertSame('a network', from, to, ['vni']),
  // Until the host says otherwise, nothing is promised about reaching other sites.
  awaited: () => ({ state: 'creating', reach: 'island' }),
  read: ({ state, mode, problem }) => ({
    status: { state, reach: mode === 'bridge' ? 'segment' : 'island' },
    changing: state === 'creating',
    ...troubleOf(state === 'failed', problem),
  }),
};

/** Names that are no label are left out; nobody could ask for them. Other names are asked for at the host's own resolvers. */
function dnsFrom({ domain, hosts }: NetworkNames): NonNullable<DesiredNetwork['dns']> {
  const labels = hosts.filter(({ name, addresses }) => label.test(name) && addresses.length > 0).slice(0, mostNames);
  return {
    domain,
    upstreams: [],
    hosts: labels.map(({ name, addresses }) => ({ name, addresses: addresses.slice(0, mostAddresses) })),
  };
}

const label = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;
/** Bounds of the protocol. */
const mostNames = 16_384;
const mostAddresses = 32;
const mostNeighbours = 32_768;

export function createNetworksFacet(site: SiteFleet): NetworksFacet {
  return createObjectFacet(site, translation);
}

/** A failed object without a reason still has failed. */
export function troubleOf(failed: boolean, problem: { readonly code: string; readonly message: string } | undefined) {
  return failed ? { problem: problem ?? { code: 'internal', message: 'the agent gave no reason' } } : {};
}
