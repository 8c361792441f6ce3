import type {
  AgentMessageOf,
  DesiredAgentRelease,
  DesiredBackup,
  DesiredOverlay,
  DesiredSnapshot,
  DesiredState,
  DesiredVolume,
  HostObject,
  HostObjectType,
} from '@virt8ra/contract';
import type { Pool } from 'pg';
import type { LinkIdentity } from './intake.js';
import { tellFleet } from './signals.js';

/** What the database says about a link that this replica holds. */
export interface LinkReview {
  readonly host: string;
  readonly linkId: string;
  /** `superseded`: another link of the host is newer. `ended`: the host or its certificate is revoked. */
  readonly verdict: 'current' | 'superseded' | 'ended';
  readonly generation: number;
}

export interface LinkStore {
  /** Makes this link the host's only one. False: host or certificate are revoked meanwhile. */
  claim(link: LinkIdentity, holder: LinkHolder, hello: AgentMessageOf<'hello'>): Promise<boolean>;
  /** The link is gone; silent when it was superseded. */
  release(link: LinkIdentity): Promise<void>;
  /** Stores when each link was heard, and answers what became of it. */
  review(links: readonly (LinkIdentity & { readonly heardSecondsAgo: number })[]): Promise<readonly LinkReview[]>;
  /** Hosts that fell silent since anyone looked, each answered once among all replicas. */
  takeSilent(): Promise<readonly string[]>;
  objectsOf(host: string): Promise<readonly HostObject[]>;
  /** Whether it is told nothing, because the control plane was restored and the two were not compared yet. */
  isHeld(host: string): Promise<boolean>;
  /** Undefined: the host is gone. */
  desiredState(host: string): Promise<DesiredState | undefined>;
}

export interface LinkHolder {
  readonly serverId: string;
  readonly fingerprint: string;
}

export function createLinkStore(pool: Pool, silenceSeconds: number): LinkStore {
  return {
    async claim({ host, linkId }, { serverId, fingerprint }, hello) {
      // A host that was away too long, or booted since, is not what was observed of it until it has reported whole.
      const claimed = await pool.query(
        `insert into fleet.link as link (host, link_id, linked_by, linked_at, certificate, heard_at, agent_version, boot_id, features)
         select host, $2, $3, clock_timestamp(), $4, clock_timestamp(), $5, $6, $8::jsonb from fleet.host
          where host = $1 and exists (select 1 from fleet.certificate where fingerprint = $4 and host = $1 and revoked_at is null)
         on conflict (host) do update set
           silent = link.silent or link.heard_at < clock_timestamp() - make_interval(secs => $7) or link.boot_id is distinct from excluded.boot_id,
           link_id = excluded.link_id, linked_by = excluded.linked_by, linked_at = excluded.linked_at, certificate = excluded.certificate,
           heard_at = excluded.heard_at, agent_version = excluded.agent_version, boot_id = excluded.boot_id,
           features = excluded.features`,
        [host, linkId, serverId, fingerprint, hello.agentVersion, hello.bootId, silenceSeconds, JSON.stringify(hello.features)],
      );
      if (claimed.rowCount === 0) return false;
      await tellFleet(pool, host);
      return true;
    },

    async release({ host, linkId }) {
      await pool.query('update fleet.link set link_id = null, linked_by = null where host = $1 and link_id = $2', [host, linkId]);
    },

    async review(links) {
      if (links.length === 0) return [];
      const reviewed = await pool.query<{ host: string; link_id: string; verdict: LinkReview['verdict']; generation: string | null }>(
        `with beat as (
           select * from unnest($1::text[], $2::text[], $3::double precision[]) as beat (host, link_id, seconds)
         ), stored as (
           update fleet.link set heard_at = greatest(heard_at, clock_timestamp() - make_interval(secs => beat.seconds))
             from beat where link.host = beat.host and link.link_id = beat.link_id
           returning link.host, link.link_id, link.certificate
         )
         select beat.host, beat.link_id, host.generation,
                case when host.host is null or (stored.host is not null and certificate.fingerprint is null) then 'ended'
                     when stored.host is null then 'superseded' else 'current' end as verdict
           from beat
           left join fleet.host on host.host = beat.host
           left join stored on stored.host = beat.host and stored.link_id = beat.link_id
           left join fleet.certificate on certificate.fingerprint = stored.certificate and certificate.revoked_at is null`,
        [links.map((link) => link.host), links.map((link) => link.linkId), links.map((link) => link.heardSecondsAgo)],
      );
      return reviewed.rows.map((row) => ({
        host: row.host,
        linkId: row.link_id,
        verdict: row.verdict,
        generation: Number(row.generation ?? 0),
      }));
    },

    async takeSilent() {
      const silent = await pool.query<{ host: string }>(
        `update fleet.link set silent = true, link_id = null, linked_by = null
          where not silent and heard_at < clock_timestamp() - make_interval(secs => $1) returning host`,
        [silenceSeconds],
      );
      return silent.rows.map((row) => row.host);
    },

    async objectsOf(host) {
      const found = await pool.query<{ type: HostObjectType; key: string }>(
        `select type, key from fleet.desired where host = $1 union select type, key from fleet.observed where host = $1`,
        [host],
      );
      return found.rows.map(({ type, key }) => ({ host, type, key }));
    },

    async isHeld(host) {
      const { rows } = await pool.query<{ held: boolean }>('select held from fleet.host where host = $1', [host]);
      return rows[0]?.held === true;
    },

    async desiredState(host) {
      const found = await pool.query<DesiredRow>(
        `select host.generation, host.maintenance, host.agent_release - 'orderedAt' as release, coalesce(link.features, '[]') as features, desired.type, desired.object,
                overlay.desired as overlay
           from fleet.host left join fleet.link using (host)
           left join fleet.overlay on overlay.host = host.host
           left join fleet.desired on desired.host = host.host and desired.object is not null
          where host.host = $1 order by desired.type, desired.key`,
        [host],
      );
      const first = found.rows[0];
      if (first === undefined) return undefined;
      // What stands there was checked when it was declared.
      const of = <Entry>(type: HostObjectType): Entry[] => found.rows.filter((row) => row.type === type).map((row) => row.object as Entry);
      const backups = of<DesiredBackup>('backup');
      const snapshots = of<DesiredSnapshot>('snapshot');
      return {
        generation: Number(first.generation),
        networks: of('network'),
        volumes: first.features.includes('limits') ? of('volume') : of<DesiredVolume>('volume').map(withoutLimits),
        instances: of('instance'),
        transfers: of('transfer'),
        ...(first.maintenance && first.features.includes('maintenance') ? { maintenance: true } : {}),
        ...(found.rows.some(({ type }) => type === 'filter') ? { filters: of('filter') } : {}),
        // Agents that know none are never told of any.
        ...(backups.length === 0 ? {} : { backups }),
        ...(snapshots.length === 0 ? {} : { snapshots }),
        ...(first.overlay === null ? {} : { overlay: first.overlay }),
        ...(first.release !== null && first.features.includes('update') ? { agentRelease: first.release } : {}),
      };
    },
  };
}

interface DesiredRow {
  readonly generation: string;
  readonly maintenance: boolean;
  readonly features: readonly string[];
  readonly overlay: DesiredOverlay | null;
  readonly release: DesiredAgentRelease | null;
  readonly type: HostObjectType | null;
  readonly object: unknown;
}

/** An agent that knows no limits would take them for a fault; its guests go on without. */
function withoutLimits({ limits: _, ...volume }: DesiredVolume): DesiredVolume {
  return volume;
}
