/** What a provider technology must fulfil to be driven. Interfaces only; the rules as tests are in `@virt8ra/driver/testing`. */
export * from './driver.js';
export * from './facets/backups.js';
export * from './facets/block-storages.js';
export * from './facets/disks.js';
export * from './facets/hosts.js';
export * from './facets/images.js';
export * from './facets/instances.js';
export * from './facets/networks.js';
export * from './facets/security-groups.js';
export * from './facets/snapshots.js';
export * from './facets/streams.js';
export * from './observation.js';
