/** Network: one address space per network for the whole region, made on a host when the first NIC arrives there. */
export { networkRanges, subnetsOf } from './address-plan.js';
export {
  addressesBeside,
  formatAddress,
  formatRange,
  gatewayOf,
  type IpAddress,
  type IpRange,
  isInside,
  overlap,
  parseAddress,
  parseRange,
  rangesOf,
} from './cidr.js';
export { gatewaysOf } from './gateways.js';
export { mergedTexts, mergeRanges, rangeFromText } from './merge-ranges.js';
export { networkMigrations } from './migrations.js';
export { createNetworkBehaviour } from './network-behaviour.js';
export { ensureNetworkOnHost, releaseNetworkOnHost, sweepSeconds } from './network-on-host.js';
export { networkPointer } from './network-pointer.js';
export { networkRoutes, nextHop, routesNeed, routesOfTable, routeTablePointer } from './network-routes.js';
export { routesChanged } from './routes-changed.js';
