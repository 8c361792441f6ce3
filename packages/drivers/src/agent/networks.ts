import type { NetworkRealizationSpec, NetworkRealizationStatus, NetworksFacet } from '@virt8ra/driver';
import { assertSame, createObjectFacet, type ObjectTranslation, type SiteFleet } from './object-facet.js';

const translation: ObjectTranslation<'network', NetworkRealizationSpec, NetworkRealizationStatus> = {
  type: 'network',
  toDesired: ({ vni, mtu, gateways }, key) => ({ key, vni, mtu, gateways: [...gateways] }),
  assertChangeable: (from, to) => assertSame('a network', from, to, ['vni']),
  // Until the host says otherwise, nothing is promised about reaching other sites.
  awaited: () => ({ state: 'creating', reach: 'island' }),
  read: ({ state, mode, problem }) => ({
    status: { state, reach: mode === 'bridge' ? 'segment' : 'island' },
    changing: state === 'creating',
    ...troubleOf(state === 'failed', problem),
  }),
};

export function createNetworksFacet(site: SiteFleet): NetworksFacet {
  return createObjectFacet(site, translation);
}

/** A failed object without a reason still has failed. */
export function troubleOf(failed: boolean, problem: { readonly code: string; readonly message: string } | undefined) {
  return failed ? { problem: problem ?? { code: 'internal', message: 'the agent gave no reason' } } : {};
}
