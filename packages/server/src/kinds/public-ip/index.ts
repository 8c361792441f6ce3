/** Public IP: an address of a site's pool, held by a record and led to the NIC that names it. */
export { publicIpMigrations } from './migrations.js';
export { addressesTaken, assertPool, lockPool, poolOf } from './pool.js';
export { type PublicIpStatus, publicIpBehaviour, sitesWithPool } from './public-ip-behaviour.js';
