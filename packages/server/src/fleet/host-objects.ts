import {
  type AgentFeature,
  agentFeatures,
  agentFrameBytes,
  DesiredBackup,
  type DesiredByType,
  DesiredFilter,
  DesiredInstance,
  DesiredNetwork,
  DesiredSnapshot,
  DesiredTransfer,
  DesiredVolume,
  type HostObject,
  type HostObjectType,
  type ObservedByType,
  Problem,
} from '@virt8ra/contract';
import { inTransaction, type Queryable } from '@virt8ra/engine';
import type { Pool } from 'pg';
import { Compile } from 'typebox/compile';
import { featuresNeeded } from './features-needed.js';
import { noteOverlayChange } from './overlay/overlay-planner.js';
import { tellFleet } from './signals.js';
import { isStorable } from './storable-json.js';

export interface HostObjectView<Type extends HostObjectType> {
  readonly desired: DesiredByType[Type] | undefined;
  readonly going: boolean;
  readonly observed: { readonly object: ObservedByType[Type]; readonly at: string } | undefined;
  readonly current: boolean;
  readonly reportedAt: string | undefined;
  readonly silence: string | undefined;
}

/** A host's whole desired state must fit one frame, with room for its envelope and its tunnels. */
const desiredBytes = agentFrameBytes - 2 * 1024 * 1024;
const pageSize = 500;

const shapes = {
  network: Compile(DesiredNetwork),
  volume: Compile(DesiredVolume),
  instance: Compile(DesiredInstance),
  transfer: Compile(DesiredTransfer),
  filter: Compile(DesiredFilter),
  backup: Compile(DesiredBackup),
  snapshot: Compile(DesiredSnapshot),
} as const;

export interface HostObjectsOptions {
  readonly pool: Pool;
  readonly epoch: string;
  readonly silenceSeconds: number;
  /** Told after a change that the overlay depends on. */
  readonly overlayChanged?: () => void;
}

/** Objects on hosts as drivers see them: declared here, reported by agents. What each method promises is said at the drivers' port. */
export function createHostObjects({ pool, epoch, silenceSeconds, overlayChanged = () => {} }: HostObjectsOptions) {
  return {
    async declare<Type extends HostObjectType>(
      site: string,
      object: { readonly host: string; readonly type: Type; readonly key: string; readonly desired: DesiredByType[Type] },
      existing: 'keep' | 'replace' | 'require',
    ): Promise<void> {
      const { host, type, key, desired } = object;
      assertShape(type, desired);
      const text = JSON.stringify(desired);
      await inTransaction(pool, async (client) => {
        await lockHost(client, site, host);
        const found = await client.query<{ host: string; live: boolean; same: boolean }>(
          `select host, object is not null as live, object is not distinct from $3::jsonb as same
             from fleet.desired where key = $1 and type = $2 and (host = $4 or type <> 'transfer')`,
          [key, type, text, host],
        );
        const elsewhere = found.rows.find((row) => row.host !== host);
        if (elsewhere !== undefined) {
          throw new Problem('conflict', `${type} ${key} is on host ${elsewhere.host} already and cannot be made on ${host} as well`);
        }
        const here = found.rows[0];
        if (existing === 'require' && here?.live !== true) throw new Problem('not-found', `there is no ${type} ${key} on host ${host}`);
        if (here?.live === true && (existing === 'keep' || here.same)) return;
        await assertFeatures(client, host, featuresNeeded(type, desired));
        await assertRoom(client, host, type, key, text);
        await client.query(
          `with host as (update fleet.host set generation = generation + 1 where host = $1 returning generation)
           insert into fleet.desired (host, type, key, object, generation) select $1, $2, $3, $4::jsonb, generation from host
           on conflict (host, type, key) do update
             set object = excluded.object, generation = excluded.generation, removed_generation = null`,
          [host, type, key, text],
        );
        if (type === 'network') await noteOverlayChange(client, [host]);
        await tellFleet(client, host);
      });
      if (type === 'network') overlayChanged();
    },

    async withdraw(site: string, { host, type, key }: HostObject): Promise<void> {
      await inTransaction(pool, async (client) => {
        const changed = await client.query(
          `with host as (
             update fleet.host set generation = generation + 1
              where host = $1 and site = $2
                and exists (select 1 from fleet.desired where desired.host = $1 and type = $3 and key = $4 and object is not null)
             returning generation)
           update fleet.desired set object = null, generation = host.generation, removed_generation = host.generation
             from host where desired.host = $1 and type = $3 and key = $4 and object is not null`,
          [host, site, type, key],
        );
        if (changed.rowCount === 0) return;
        if (type === 'network') await noteOverlayChange(client, [host]);
        await tellFleet(client, host);
      });
      if (type === 'network') overlayChanged();
    },

    async look<Type extends HostObjectType>(site: string, object: HostObject & { readonly type: Type }): Promise<HostObjectView<Type>> {
      const { host, type, key } = object;
      const found = await pool.query<ViewRow<Type>>(
        `select desired.object as desired, desired.key is not null and desired.object is null as going,
                observed.object as observed, observed.observed_at,
                coalesce(observed.generation >= desired.generation, true) as current,
                link.reported_at, link.heard_at, link.full_epoch,
                link.silent or link.heard_at < clock_timestamp() - make_interval(secs => $5) as silent
           from fleet.host
           left join fleet.link on link.host = host.host
           left join fleet.desired on desired.host = host.host and desired.type = $3 and desired.key = $4
           left join fleet.observed on observed.host = host.host and observed.type = $3 and observed.key = $4
          where host.host = $1 and host.site = $2`,
        [host, site, type, key, silenceSeconds],
      );
      const row = found.rows[0];
      if (row === undefined) return { ...nothingKnown, silence: `site ${site} has no host ${host} any more` };
      return {
        desired: row.desired ?? undefined,
        going: row.going,
        observed:
          row.observed === null || row.observed_at === null ? undefined : { object: row.observed, at: row.observed_at.toISOString() },
        current: row.current,
        reportedAt: row.full_epoch === epoch ? row.reported_at?.toISOString() : undefined,
        silence: silenceOf(host, row, epoch),
      };
    },

    async find(site: string, type: HostObjectType, key: string, on?: string): Promise<HostObject | undefined> {
      const found = await pool.query<{ host: string }>(
        `select host from fleet.host
          where site = $1 and ($4::text is null or host = $4)
            and (exists (select 1 from fleet.desired where desired.host = host.host and type = $2 and key = $3)
              or exists (select 1 from fleet.observed where observed.host = host.host and type = $2 and key = $3))
          order by host limit 1`,
        [site, type, key, on ?? null],
      );
      const host = found.rows[0]?.host;
      if (host !== undefined) return { host, type, key };
      // A host that was linked once and has not reported under this epoch may hold what a restored database has forgotten.
      const unheard = await pool.query<{ host: string }>(
        `select host from fleet.host join fleet.link using (host)
          where site = $1 and ($3::text is null or host = $3) and linked_at is not null and full_epoch is distinct from $2
          order by host limit 1`,
        [site, epoch, on ?? null],
      );
      const waiting = unheard.rows[0]?.host;
      if (waiting === undefined) return undefined;
      throw new Problem('unavailable', `host ${waiting} has not reported yet, so that it cannot be told whether ${type} ${key} exists`);
    },

    async features(site: string, host: string): Promise<ReadonlySet<AgentFeature>> {
      const found = await pool.query<{ features: string[] }>(
        'select features from fleet.link join fleet.host using (host) where host = $1 and site = $2',
        [host, site],
      );
      return new Set(agentFeatures.filter((feature) => found.rows[0]?.features.includes(feature) === true));
    },

    async *list(site: string, type: HostObjectType): AsyncGenerator<HostObject> {
      let after = { host: '', key: '' };
      for (;;) {
        const page = await pool.query<{ host: string; key: string }>(
          `select host, key from (
             select desired.host, key from fleet.desired join fleet.host using (host) where site = $1 and type = $2
             union
             select observed.host, key from fleet.observed join fleet.host using (host) where site = $1 and type = $2) as object
           where (host collate "C", key collate "C") > ($3, $4) order by host collate "C", key collate "C" limit $5`,
          [site, type, after.host, after.key, pageSize],
        );
        for (const { host, key } of page.rows) yield { host, type, key };
        const last = page.rows.at(-1);
        if (last === undefined || page.rows.length < pageSize) return;
        after = last;
      }
    },
  };
}

const nothingKnown = { desired: undefined, going: false, observed: undefined, current: true, reportedAt: undefined } as const;

interface ViewRow<Type extends HostObjectType> {
  readonly desired: DesiredByType[Type] | null;
  readonly going: boolean;
  readonly observed: ObservedByType[Type] | null;
  readonly observed_at: Date | null;
  readonly current: boolean;
  readonly reported_at: Date | null;
  readonly heard_at: Date | null;
  readonly full_epoch: string | null;
  readonly silent: boolean | null;
}

function silenceOf(host: string, row: ViewRow<HostObjectType>, epoch: string): string | undefined {
  if (row.heard_at === null) return `the agent of host ${host} has never been connected`;
  if (row.full_epoch !== epoch) return `host ${host} has not reported since the control plane was restored`;
  if (row.silent !== false) return `host ${host} is not connected; it was last heard at ${row.heard_at.toISOString()}`;
  return undefined;
}

/** Serialises changes of one host's desired state; its generations follow the order of commits. */
async function lockHost(client: Queryable, site: string, host: string): Promise<void> {
  const found = await client.query('select 1 from fleet.host where host = $1 and site = $2 for no key update', [host, site]);
  if (found.rowCount === 0) throw new Problem('not-found', `site ${site} has no host ${host}; enrol it first`);
}

/** An agent that lacks a feature would refuse the whole state, or run a guest without what protects it. */
async function assertFeatures(client: Queryable, host: string, needed: readonly AgentFeature[]): Promise<void> {
  if (needed.length === 0) return;
  const found = await client.query<{ features: string[] }>('select features from fleet.link where host = $1', [host]);
  const missing = needed.filter((feature) => found.rows[0]?.features.includes(feature) !== true);
  if (missing.length > 0) {
    throw new Problem(
      'unsupported',
      `host ${host} cannot do this: its agent does not offer ${missing.join(', ')}. Choose another host, update its agent, or run it there as root with nftables installed.`,
    );
  }
}

async function assertRoom(client: Queryable, host: string, type: HostObjectType, key: string, text: string): Promise<void> {
  const sum = await client.query<{ bytes: string }>(
    `select coalesce(sum(octet_length(object::text)), 0) as bytes from fleet.desired where host = $1 and not (type = $2 and key = $3)`,
    [host, type, key],
  );
  const bytes = Number(sum.rows[0]?.bytes ?? 0) + Buffer.byteLength(text);
  if (bytes > desiredBytes) {
    throw new Problem('exhausted', `host ${host} holds as many objects as its agent can be told of`, {
      facts: { bytes, most: desiredBytes },
    });
  }
}

/** Names the place, never the value: user data may hold secrets. */
function assertShape(type: HostObjectType, desired: unknown): void {
  const shape = shapes[type];
  if (!isStorable(desired)) throw new Problem('unsupported', `a ${type} cannot hold NUL or broken surrogate pairs in its texts`);
  if (shape.Check(desired)) return;
  const [first] = shape.Errors(desired);
  throw new Problem('unsupported', `agents cannot take this ${type}: ${first?.instancePath ?? ''} ${first?.message ?? 'has another form'}`);
}
