/** Network: one address space per network for the whole region, made on a host when the first NIC arrives there. */
export { networkRanges, subnetsOf } from './address-plan.js';
export { formatAddress, formatRange, gatewayOf, type IpAddress, type IpRange, isInside, overlap, parseAddress, rangesOf } from './cidr.js';
export { networkMigrations } from './migrations.js';
export { createNetworkBehaviour } from './network-behaviour.js';
export { ensureNetworkOnHost, releaseNetworkOnHost } from './network-on-host.js';
