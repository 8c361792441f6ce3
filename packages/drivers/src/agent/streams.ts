import type { StreamsFacet } from '@virt8ra/driver';
import { objectFromHandle } from './handle.js';
import type { SiteFleet } from './object-facet.js';

export function createStreamsFacet({ fleet, site, assertOpen }: SiteFleet): StreamsFacet {
  return {
    async open(instance, target, caller) {
      assertOpen();
      return await fleet.openStream(site, objectFromHandle(instance, 'instance'), target, caller);
    },
  };
}
