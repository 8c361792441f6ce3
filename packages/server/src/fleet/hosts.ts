import { type AgentFeature, agentFeatures, type DesiredAgentRelease, type HostInventory, Problem } from '@virt8ra/contract';
import { inTransaction, type Queryable } from '@virt8ra/engine';
import type { Pool } from 'pg';
import { tellFleet } from './signals.js';

export interface HostStatus {
  readonly host: string;
  readonly site: string;
  /** A live link now. */
  readonly connected: boolean;
  /** When anything was heard of the agent last, by our clock; undefined: never. */
  readonly heardAt: string | undefined;
  /** When the inventory was taken, by the agent's clock; undefined: never. */
  readonly observedAt: string | undefined;
  readonly agentVersion: string | undefined;
  readonly inventory: HostInventory | undefined;
  /** The agent is to start no guests. */
  readonly maintenance: boolean;
  /** What its agent said it can do, when it said hello last; words that this server does not know are left out. */
  readonly features: readonly AgentFeature[];
  /** The newest order to run a release of the agent. */
  readonly release: OrderedRelease | undefined;
  /** Seconds its clock is ahead of ours, as of its newest inventory; undefined: never told. */
  readonly clockOffsetSeconds: number | undefined;
}

/** An order for a host's agent, and when it was given, by our clock. */
export type OrderedRelease = DesiredAgentRelease & { readonly orderedAt: string };

/** Sums over the hosts of a site that have reported an inventory, connected or not; what is claimed of it is not taken off. */
export interface SiteCapacity {
  readonly hosts: number;
  readonly connected: number;
  readonly vCPU: number;
  readonly memoryMiB: number;
  readonly storageBytes: number;
  readonly architectures: readonly string[];
}

export interface FleetHosts {
  /** Hosts the fleet does not know are left out. */
  hostStatus(hosts: readonly string[]): Promise<readonly HostStatus[]>;
  hostsOfSite(site: string): Promise<readonly HostStatus[]>;
  /** Tells the agent whether it may start guests. Raises `unsupported` when the agent that was linked last does not know that. */
  setMaintenance(host: string, maintenance: boolean, client: Queryable): Promise<void>;
  /** Tells the agent to run a release. Raises `unsupported` when the agent that was linked last cannot be updated by command. */
  orderRelease(host: string, release: OrderedRelease, client: Queryable): Promise<void>;
  siteCapacity(site: string): Promise<SiteCapacity>;
  /**
   * Ends a host's membership: certificates revoked, link closed, everything known of it forgotten. Silent when it is unknown. Raises
   * `conflict` while objects are desired there or their removal is not confirmed, unless `abandon` says that a person accepts it.
   */
  removeHost(host: string, options?: { readonly abandon?: boolean; readonly client?: Queryable }): Promise<void>;
}

export function createFleetHosts(pool: Pool, silenceSeconds: number): FleetHosts {
  const select = async (condition: string, value: unknown): Promise<readonly HostStatus[]> => {
    const found = await pool.query<HostRow>(
      `select host, site, link_id is not null and heard_at > clock_timestamp() - make_interval(secs => $2) as connected,
              heard_at, inventory_at, agent_version, inventory, maintenance, features, agent_release, clock_offset_seconds
         from fleet.host left join fleet.link using (host) where ${condition} order by host`,
      [value, silenceSeconds],
    );
    return found.rows.map(statusFromRow);
  };
  const hostsOfSite = async (site: string) => await select('site = $1', site);
  return {
    hostStatus: async (hosts) => (hosts.length === 0 ? [] : await select('host = any($1)', hosts)),
    hostsOfSite,
    async setMaintenance(host, maintenance, client) {
      if (maintenance) {
        const old = await client.query(`select 1 from fleet.link where host = $1 and not features ? 'maintenance'`, [host]);
        if (old.rowCount !== 0) throw new Problem('unsupported', `the agent of host ${host} does not know maintenance; update it first`);
      }
      const changed = await client.query(
        'update fleet.host set maintenance = $2, generation = generation + 1 where host = $1 and maintenance <> $2',
        [host, maintenance],
      );
      if (changed.rowCount !== 0) await tellFleet(client, host);
    },
    async orderRelease(host, release, client) {
      const able = await client.query<{ able: boolean; agent_version: string | null }>(
        `select features ? 'update' as able, agent_version from fleet.link where host = $1`,
        [host],
      );
      const agent = able.rows[0];
      if (agent?.able !== true) {
        const which =
          agent === undefined
            ? 'has never been connected'
            : `is version ${agent.agent_version}, too old for that, was not started by its launcher, or was told --updates off`;
        throw new Problem(
          'unsupported',
          `the agent of host ${host} cannot be updated by command: it ${which}. Install the package virt8ra-agent on the host once.`,
        );
      }
      await client.query('update fleet.host set agent_release = $2::jsonb, generation = generation + 1 where host = $1', [
        host,
        JSON.stringify(release),
      ]);
      await tellFleet(client, host);
    },
    async siteCapacity(site) {
      const hosts = await hostsOfSite(site);
      const sum = (of: (inventory: HostInventory) => number): number =>
        hosts.reduce((total, { inventory }) => total + (inventory === undefined ? 0 : of(inventory)), 0);
      return {
        hosts: hosts.length,
        connected: hosts.filter((host) => host.connected).length,
        vCPU: sum(({ capacity }) => capacity.vCPU),
        memoryMiB: sum(({ capacity }) => capacity.memoryMiB),
        storageBytes: sum(({ capacity }) => capacity.storageBytes),
        architectures: [...new Set(hosts.flatMap(({ inventory }) => (inventory === undefined ? [] : [inventory.architecture])))].sort(),
      };
    },
    async removeHost(host, { abandon = false, client } = {}) {
      const work = async (within: Queryable): Promise<void> => {
        // In the order in which a report takes its locks.
        await within.query('select 1 from fleet.link where host = $1 for update', [host]);
        const known = await within.query('select 1 from fleet.host where host = $1 for update', [host]);
        if (known.rowCount === 0) return;
        const held = await within.query<{ type: string; key: string }>('select type, key from fleet.desired where host = $1 limit 1', [
          host,
        ]);
        const first = held.rows[0];
        if (first !== undefined && !abandon) {
          throw new Problem('conflict', `host ${host} still has objects, such as ${first.type} ${first.key}; move or delete them first`);
        }
        await within.query('update fleet.certificate set revoked_at = clock_timestamp() where host = $1 and revoked_at is null', [host]);
        // Its peers are to take their ends down.
        await within.query(
          `insert into fleet.overlay_changed (host) select host from fleet.overlay where desired @> jsonb_build_object('peers', jsonb_build_array(jsonb_build_object('host', $1::text)))`,
          [host],
        );
        await within.query('delete from fleet.host where host = $1', [host]);
        await tellFleet(within, host);
      };
      if (client === undefined) await inTransaction(pool, work);
      else await work(client);
    },
  };
}

interface HostRow {
  readonly host: string;
  readonly site: string;
  readonly connected: boolean | null;
  readonly heard_at: Date | null;
  readonly inventory_at: Date | null;
  readonly agent_version: string | null;
  readonly inventory: HostInventory | null;
  readonly maintenance: boolean;
  readonly features: readonly string[] | null;
  readonly agent_release: OrderedRelease | null;
  readonly clock_offset_seconds: number | null;
}

function statusFromRow(row: HostRow): HostStatus {
  return {
    host: row.host,
    site: row.site,
    connected: row.connected === true,
    heardAt: row.heard_at?.toISOString(),
    observedAt: row.inventory_at?.toISOString(),
    agentVersion: row.agent_version ?? undefined,
    inventory: row.inventory ?? undefined,
    maintenance: row.maintenance,
    features: agentFeatures.filter((feature) => row.features?.includes(feature) === true),
    release: row.agent_release ?? undefined,
    clockOffsetSeconds: row.clock_offset_seconds ?? undefined,
  };
}
