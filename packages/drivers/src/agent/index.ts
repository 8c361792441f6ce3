/** Sites whose hosts run our own agent. Everything is declared through `AgentFleet`; this folder never talks to a host by itself. */
import { type AgentFeature, Problem } from '@virt8ra/contract';
import type { Connection, Driver, HostNetworking } from '@virt8ra/driver';
import { createBackupsFacet } from './backups.js';
import { createBlockStoragesFacet } from './block-storages.js';
import { capabilities } from './capability.js';
import { createDisksFacet } from './disks.js';
import type { AgentFleet } from './fleet-port.js';
import { driverName } from './handle.js';
import { createInstancesFacet } from './instances.js';
import { createNetworksFacet } from './networks.js';
import type { SiteFleet } from './object-facet.js';
import { createSecurityGroupsFacet } from './security-groups.js';
import { createSnapshotsFacet } from './snapshots.js';
import { createStreamsFacet } from './streams.js';

export type { AgentFleet, FleetHost, HostObjectView } from './fleet-port.js';

export interface AgentSiteConfig {
  /** Name of the site as the fleet knows it. */
  readonly site: string;
}

export function createAgentDriver(fleet: AgentFleet): Driver<AgentSiteConfig> {
  return {
    name: driverName,
    summary: 'hosts with our own agent: QEMU guests, their disks, networks and security groups',
    lacks: { images: 'its disks are written from the artifact store, and are copied from host to host' },
    parse: parseConfig,
    connect: async ({ site }) => openSite(fleet, site),
  };
}

/** What a NIC may need that not every host has, by the feature that it takes. */
const networkingByFeature: Partial<Record<AgentFeature, HostNetworking>> = {
  filters: 'security-groups',
  routes: 'routes',
  'ipv6-routes': 'ipv6-routes',
  'public-addresses': 'public-addresses',
};

function networkingOf(features: readonly AgentFeature[]): readonly HostNetworking[] {
  return features.flatMap((feature) => networkingByFeature[feature] ?? []);
}

function parseConfig(input: unknown): AgentSiteConfig {
  const site = typeof input === 'object' && input !== null && 'site' in input ? input.site : undefined;
  if (typeof site !== 'string' || site === '') {
    throw new Problem('validation', 'an agent site needs the name of the site', { sources: [{ pointer: '/site' }] });
  }
  return { site };
}

function openSite(fleet: AgentFleet, site: string): Connection {
  let closed = false;
  const assertOpen = (): void => {
    if (closed) throw new Problem('cancelled', `the connection to site ${site} is closed`);
  };
  const context: SiteFleet = { fleet, site, assertOpen };
  return {
    instances: createInstancesFacet(context),
    blockStorages: createBlockStoragesFacet(context),
    networks: createNetworksFacet(context),
    securityGroups: createSecurityGroupsFacet(context),
    backups: createBackupsFacet(context),
    snapshots: createSnapshotsFacet(context),
    disks: createDisksFacet(context),
    hosts: {
      async list() {
        assertOpen();
        return (await fleet.hosts(site)).map((found) => ({ ...found, networking: networkingOf(found.features) }));
      },
    },
    streams: createStreamsFacet(context),
    capabilities,
    async probe() {
      assertOpen();
      const hosts = await fleet.hosts(site);
      const connected = hosts.filter((host) => host.connected).length;
      if (connected > 0) return { healthy: true };
      return {
        healthy: false,
        reason: hosts.length === 0 ? `site ${site} has no host` : `none of the ${hosts.length} hosts of site ${site} is connected`,
      };
    },
    async close() {
      closed = true;
    },
  };
}
