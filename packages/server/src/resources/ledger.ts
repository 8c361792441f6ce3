import { type Id, newId, Problem } from '@virt8ra/contract';
import type { Pool, PoolClient } from 'pg';
import type { Realization } from './ledger-types.js';
import type { LedgerReader, LedgerWriter } from './store.js';

interface RealizationRow {
  readonly id: Id<'realization'>;
  readonly resource_uid: Id<'resource'>;
  readonly generation: number;
  readonly role: Realization['role'];
  readonly facet: Realization['facet'];
  readonly site: string;
  readonly host: string | null;
  readonly key: string;
  readonly state: Realization['state'];
  readonly handle: Realization['handle'] | null;
  readonly facts: Realization['facts'];
  readonly created_at: Date;
}

export function createLedgerReader(on: Pool | PoolClient): LedgerReader {
  const many = async (condition: string, value: unknown): Promise<readonly Realization[]> => {
    const { rows } = await on.query<RealizationRow>(
      `select * from realization where ${condition} order by resource_uid, generation, created_at, id`,
      [value],
    );
    return rows.map(realizationFromRow);
  };
  return {
    ofResource: async (uid) => await many('resource_uid = $1', uid),
    ofResources: async (uids) => await many('resource_uid = any($1)', uids),
    atSite: async (site) => await many('site = $1', site),
    onHost: async (host) => await many('host = $1', host),
    byKey: async (key) => (await many('key = $1', key))[0],
  };
}

export function createLedgerWriter(client: PoolClient, now: () => Date): LedgerWriter {
  const change = async (id: Id<'realization'>, set: string, values: readonly unknown[]): Promise<void> => {
    const { rowCount } = await client.query(`update realization set ${set} where id = $1`, [id, ...values]);
    if (rowCount === 0) throw new Problem('not-found', `the ledger has no realization ${id}`);
  };
  return {
    ...createLedgerReader(client),
    async intend(intent) {
      const counted = await client.query<{ generation: number }>(
        'update resource set generation = generation + 1 where uid = $1 returning generation',
        [intent.resourceUid],
      );
      const generation = counted.rows[0]?.generation;
      if (generation === undefined) throw new Problem('not-found', `there is no resource ${intent.resourceUid} to realize`);
      // Networks and security groups are made once per host; the host in the key tells a reader at the provider which.
      const perHost = (intent.facet === 'networks' || intent.facet === 'securityGroups') && intent.host !== undefined;
      const key = `${intent.resourceUid}-g${generation}${perHost ? `-${intent.host}` : ''}`;
      const { rows } = await client.query<RealizationRow>(
        `insert into realization (id, resource_uid, generation, role, facet, site, host, key, state, facts, created_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, 'intended', $9, $10) returning *`,
        [
          newId('realization'),
          intent.resourceUid,
          generation,
          intent.role,
          intent.facet,
          intent.site,
          intent.host ?? null,
          key,
          JSON.stringify(intent.facts ?? {}),
          now(),
        ],
      );
      const row = rows[0];
      if (row === undefined) throw new Problem('internal', 'the ledger did not answer with the intent it was given');
      return realizationFromRow(row);
    },
    confirm: async (id, handle) => await change(id, `state = 'present', handle = $2`, [JSON.stringify(handle)]),
    setRole: async (id, role) => await change(id, 'role = $2', [role]),
    setFacts: async (id, facts) => await change(id, 'facts = facts || $2', [JSON.stringify(facts)]),
    setRemoving: async (id) => await change(id, `state = 'removing'`, []),
    async forget(id) {
      await client.query('delete from realization where id = $1', [id]);
    },
  };
}

function realizationFromRow(row: RealizationRow): Realization {
  return {
    id: row.id,
    resourceUid: row.resource_uid,
    generation: row.generation,
    role: row.role,
    facet: row.facet,
    site: row.site,
    host: row.host ?? undefined,
    key: row.key,
    state: row.state,
    handle: row.handle ?? undefined,
    facts: row.facts,
    createdAt: row.created_at.toISOString(),
  };
}
