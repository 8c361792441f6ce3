import { engineMigrations } from '@virt8ra/engine';
import { accessMigrations } from './access/migrations.js';
import { credentialMigrations } from './accounts/account-credentials.js';
import { presetMigrations } from './accounts/provider-presets.js';
import { auditMigrations } from './audit/migrations.js';
import { capacityMigrations } from './capacity/claims.js';
import type { MigrationList } from './database/migrations.js';
import { fleetMigrations } from './fleet/migrations.js';
import { identityMigrations } from './identity/migrations.js';
import { declarativeMigrations } from './kinds/declarative/index.js';
import { instanceMigrations } from './kinds/instance/index.js';
import { networkMigrations } from './kinds/network/index.js';
import { nicMigrations } from './kinds/nic/index.js';
import { publicIpMigrations } from './kinds/public-ip/index.js';
import { drainMigrations } from './kinds/topology/index.js';
import { quotaMigrations } from './quotas/migrations.js';
import { resourceMigrations } from './resources/migrations.js';
import { sampleMigrations } from './samples/sample-store.js';
import { streamMigrations } from './streams/migrations.js';
import { usageMigrations } from './usage/migrations.js';
import { webhookMigrations } from './webhooks/migrations.js';

/** The migrations of every part, by hand, in the order in which they are applied. */
export const migrations: readonly MigrationList[] = [
  { area: 'engine', migrations: engineMigrations },
  { area: 'resources', migrations: resourceMigrations },
  { area: 'capacity', migrations: capacityMigrations },
  { area: 'fleet', migrations: fleetMigrations },
  { area: 'access', migrations: accessMigrations },
  { area: 'instance', migrations: instanceMigrations },
  { area: 'network', migrations: networkMigrations },
  { area: 'nic', migrations: nicMigrations },
  { area: 'topology', migrations: drainMigrations },
  { area: 'public-ip', migrations: publicIpMigrations },
  { area: 'samples', migrations: sampleMigrations },
  { area: 'preset', migrations: presetMigrations },
  { area: 'stream', migrations: streamMigrations },
  { area: 'identity', migrations: identityMigrations },
  { area: 'audit', migrations: auditMigrations },
  { area: 'quota', migrations: quotaMigrations },
  { area: 'usage', migrations: usageMigrations },
  { area: 'declarative', migrations: declarativeMigrations },
  { area: 'webhook', migrations: webhookMigrations },
  { area: 'credential', migrations: credentialMigrations },
];
