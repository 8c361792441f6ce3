/** Sites of OpenStack clouds: servers, images, networks and volumes of one project in one region. */
import { Problem, toProblem } from '@virt8ra/contract';
import type { Connection, Driver } from '@virt8ra/driver';
import { type Budget, type BudgetOptions, createBudget } from '../_http/budget.js';
import { createExchanger } from '../_http/exchange.js';
import type { HttpWay } from '../_http/way.js';
import { createBlockStoragesFacet } from './block-storages.js';
import { capabilities } from './capability.js';
import { createClient } from './client.js';
import { access, credentialName, type OpenStackConfig, parseConfig } from './config.js';
import { driverName } from './handle.js';
import { createIdentity } from './identity.js';
import { createImagesFacet } from './images.js';
import { createInstancesFacet } from './instances.js';
import { createKeyLock } from './key-lock.js';
import { createNetworksFacet } from './networks.js';
import type { SiteParts } from './site-parts.js';

export interface OpenStackOptions {
  /** Of each credential. */
  readonly budget?: BudgetOptions;
  /** Before the second try. Default 200. */
  readonly backoffMs?: number;
}

export function createOpenStackDriver(way: HttpWay, options: OpenStackOptions = {}): Driver<OpenStackConfig> {
  /** One for each credential, whoever uses it. */
  const budgets = new Map<string, Budget>();
  const lock = createKeyLock();
  return {
    name: driverName,
    summary: 'a project of an OpenStack cloud: Nova, Glance, Neutron, and Cinder where it is',
    lacks: {
      securityGroups: 'not made yet; instances that have some are refused',
      disks: 'nobody of ours is at the site; whole images go in and out',
      hosts: 'the cloud does not show its hosts to a project',
      streams: 'consoles are pages of the cloud itself',
      backups: 'not made yet; images of servers can be taken',
      snapshots: 'not made yet',
    },
    access,
    parse: parseConfig,
    connect: async (config) => {
      const name = credentialName(config);
      const budget = budgets.get(name) ?? createBudget(options.budget);
      budgets.set(name, budget);
      return openSite({ way, config, budget, lock, options });
    },
  };
}

function openSite(parts: {
  readonly way: HttpWay;
  readonly config: OpenStackConfig;
  readonly budget: Budget;
  readonly lock: SiteParts['lock'];
  readonly options: OpenStackOptions;
}): Connection {
  const { way, config, budget, lock, options } = parts;
  const { site, availabilityZone } = config;
  let closed = false;
  const assertOpen = (): void => {
    if (closed) throw new Problem('cancelled', `the connection to site ${site} is closed`);
  };
  const exchanger = createExchanger({
    way,
    budget,
    requestIdHeaders: ['x-openstack-request-id', 'x-compute-request-id'],
    // Compute's own limit of old, and what a busy service answers.
    throttles: [413, 503],
    ...(options.backoffMs === undefined ? {} : { backoffMs: options.backoffMs }),
  });
  const client = createClient({ exchanger, identity: createIdentity(exchanger, config), assertOpen });
  const shared: SiteParts = { client, source: `${driverName}/${site}`, lock, availabilityZone };
  return {
    instances: createInstancesFacet(shared),
    blockStorages: createBlockStoragesFacet(shared),
    images: createImagesFacet(shared),
    networks: createNetworksFacet(shared),
    capabilities,
    async probe() {
      try {
        assertOpen();
        for (const service of ['compute', 'image', 'network'] as const) {
          if ((await client.find(service)) === undefined)
            return { healthy: false, reason: `the catalogue of the cloud has no ${service} service` };
        }
        // A token is taken, and the project may be looked into.
        await client.call('compute', 'GET', '/servers', { query: { limit: '1' } });
        return { healthy: true };
      } catch (thrown) {
        return { healthy: false, reason: toProblem(thrown).message };
      }
    },
    async close() {
      closed = true;
      exchanger.close();
    },
  };
}
