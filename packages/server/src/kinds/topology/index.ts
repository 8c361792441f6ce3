/** Where things run and with whom: providers, accounts, sites and hosts, kept by the operator. */
import type { Driver } from '@virt8ra/driver';
import type { Workflow } from '@virt8ra/engine';
import type { Pool } from 'pg';
import type { AccountCredentials } from '../../accounts/account-credentials.js';
import { createSiteHealths } from '../../accounts/site-health.js';
import type { Fleet } from '../../fleet/fleet.js';
import type { KindBehaviour } from '../behaviour.js';
import type { KindContext } from '../context.js';
import { createAccountBehaviour } from './account.js';
import type { DrainInput } from './drain/index.js';
import { createHostBehaviour } from './host.js';
import { providerBehaviour } from './provider.js';
import { createSiteBehaviour } from './site.js';

export { createDrainWorkflow, drainMigrations } from './drain/index.js';

export function createTopologyBehaviours(parts: {
  readonly context: KindContext;
  readonly pool: Pool;
  readonly fleet: Fleet;
  readonly drivers: readonly Driver<unknown>[];
  readonly credentials: AccountCredentials;
  readonly drain: Workflow<DrainInput, unknown>;
}): readonly KindBehaviour[] {
  const { context, pool, fleet, drivers, credentials, drain } = parts;
  const healths = createSiteHealths(context);
  return [
    providerBehaviour as KindBehaviour,
    createAccountBehaviour(drivers, healths, credentials) as KindBehaviour,
    createSiteBehaviour(context, { pool, drivers, healths }) as KindBehaviour,
    createHostBehaviour(fleet, context, drain) as KindBehaviour,
  ];
}
