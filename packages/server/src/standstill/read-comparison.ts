import type { DesiredState } from '@virt8ra/contract';
import type { Queryable } from '@virt8ra/engine';
import { type ComparedHost, type Comparison, comparedTypes, type HostThing, thingId } from './compare.js';

export type HostStanding = 'waiting' | 'compared' | 'released';

export interface ReadComparison {
  readonly comparison: Comparison;
  /** Every host there is; `waiting`: it has not reported since the restore. */
  readonly standings: readonly { readonly host: string; readonly site: string; readonly state: HostStanding }[];
  /** Hosts that showed a certificate of ours and that the database does not know. */
  readonly strangers: readonly string[];
}

/** Everything that a comparison needs, of the hosts that are held and have reported under the database's epoch. */
export async function readComparison(on: Queryable): Promise<ReadComparison> {
  const hosts = await on.query<{
    host: string;
    site: string;
    held: boolean;
    reported: boolean;
    told: DesiredState | null;
    tells: boolean | null;
  }>(
    `select host.host, host.site, host.held, coalesce(link.full_epoch = plane.epoch, false) as reported, told.state as told,
            link.features ? 'ledger' as tells
       from fleet.host cross join control.plane
       left join fleet.link on link.host = host.host
       left join fleet.told on told.host = host.host and told.epoch = plane.epoch
      order by host.host`,
  );
  // Who can say what it was told and has not yet, is about to.
  const isCompared = (row: (typeof hosts.rows)[number]): boolean => row.held && row.reported && (row.told !== null || row.tells !== true);
  const compared: ComparedHost[] = hosts.rows.filter(isCompared).map(({ host, site, told }) => ({
    host,
    site,
    told: told === null ? undefined : new Map(thingsOf(told).map(({ type, key, object }) => [thingId(type, key), object])),
  }));
  const names = compared.map(({ host }) => host);
  const types = [...comparedTypes];
  const observed = await on.query<HostThing>('select host, type, key, object from fleet.observed where host = any($1) and type = any($2)', [
    names,
    types,
  ]);
  const desired = await on.query<HostThing>(
    'select host, type, key, object from fleet.desired where host = any($1) and type = any($2) and object is not null',
    [names, types],
  );
  const realizations = await on.query<Comparison['realizations'][number]>(
    `select id, resource_uid as "resourceUid", role, facet, host, key, state from realization`,
  );
  const permits = await on.query<{ uid: string; epoch: number; holder: string }>(
    'select instance_uid as uid, epoch, holder from run_permit',
  );
  const resources = await on.query<{ uid: string; kind: string; name: string }>(
    `select uid, kind, name from resource where kind in ('instance', 'block-storage', 'snapshot', 'network', 'security-group')`,
  );
  const uses = await on.query<{ uid: string; volumes: string[] }>(
    `select reference.uid, array_agg(reference.target_uid) as volumes from resource_reference as reference
       join resource as instance on instance.uid = reference.uid and instance.kind = 'instance'
       join resource as volume on volume.uid = reference.target_uid and volume.kind = 'block-storage'
      group by reference.uid`,
  );
  const strangers = await on.query<{ host: string }>(
    'select host from fleet.stranger where host not in (select host from fleet.host) order by host',
  );
  return {
    comparison: {
      hosts: compared,
      observed: observed.rows,
      desired: desired.rows,
      realizations: realizations.rows,
      permits: new Map(permits.rows.map(({ uid, ...permit }) => [uid, permit])),
      resources: new Map(resources.rows.map(({ uid, kind, name }) => [uid, { kind, name }])),
      volumesOf: new Map(uses.rows.map(({ uid, volumes }) => [uid, volumes])),
    },
    standings: hosts.rows.map((row) => ({
      host: row.host,
      site: row.site,
      state: row.held ? (isCompared(row) ? 'compared' : 'waiting') : 'released',
    })),
    strangers: strangers.rows.map(({ host }) => host),
  };
}

function thingsOf(state: DesiredState): readonly Omit<HostThing, 'host'>[] {
  return [
    ...state.instances.map((object) => ({ type: 'instance', key: object.key, object }) as const),
    ...state.volumes.map((object) => ({ type: 'volume', key: object.key, object }) as const),
    ...state.networks.map((object) => ({ type: 'network', key: object.key, object }) as const),
    ...(state.filters ?? []).map((object) => ({ type: 'filter', key: object.key, object }) as const),
    ...(state.snapshots ?? []).map((object) => ({ type: 'snapshot', key: object.key, object }) as const),
  ];
}
