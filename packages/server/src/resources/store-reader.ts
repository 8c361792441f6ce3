import { type Id, type Kind, type Progress, parentPath } from '@virt8ra/contract';
import type { Pool, PoolClient } from 'pg';
import { createLedgerReader } from './ledger.js';
import { pageQuery, rarityQuery, textFromPosition, walkableTerms } from './page-query.js';
import { type ParentRange, parentCondition, parentRange } from './parent-range.js';
import { type ResourceRow, resourceColumns, resourceFromRow } from './resource-row.js';
import type { LabelTerm, ListQuery, StoreReader } from './store.js';

/** Reads on a pool, or inside the transaction of a client. */
export function createStoreReader(on: Pool | PoolClient): StoreReader {
  const byUid = async (uids: readonly Id<'resource'>[]): Promise<readonly ResourceRow[]> => {
    const { rows } = await on.query<ResourceRow>({
      name: 'resource-by-uid',
      text: `select ${resourceColumns} from resource where uid = any($1)`,
      values: [uids],
    });
    return rows;
  };

  const driverOf = async (kind: Kind, range: ParentRange, query: ListQuery): Promise<LabelTerm | undefined> => {
    const terms = walkableTerms(range, query);
    if (terms.length < 2) return terms[0];
    const { rows } = await on.query<Record<string, number>>(rarityQuery(kind, range, terms));
    const counts = terms.map((_, index) => rows[0]?.[`term_${index}`] ?? 0);
    return terms[counts.indexOf(Math.min(...counts))];
  };

  return {
    async get(kind, address) {
      const { rows } = await on.query<ResourceRow>({
        name: 'resource-by-address',
        text: `select ${resourceColumns} from resource where kind = $1 and parent = $2 and name = $3`,
        values: [kind.kind, parentPath(kind, address), address.name],
      });
      return rows[0] === undefined ? undefined : resourceFromRow(rows[0]);
    },
    async getByUid(uid) {
      const [row] = await byUid([uid]);
      return row === undefined ? undefined : resourceFromRow(row);
    },
    async getManyByUid(uids) {
      const rows = new Map((await byUid(uids)).map((row) => [row.uid, row]));
      return uids.flatMap((uid) => {
        const row = rows.get(uid);
        return row === undefined ? [] : [resourceFromRow(row)];
      });
    },
    async list(kind, within, query) {
      const range = parentRange(kind, within);
      const { rows } = await on.query<ResourceRow>(pageQuery(kind, range, query, await driverOf(kind, range, query)));
      const page = rows.slice(0, query.limit);
      const last = page.at(-1);
      return {
        items: page.map((row) => resourceFromRow(row)),
        next: rows.length > page.length && last ? textFromPosition(last) : undefined,
      };
    },
    async count(kind, within) {
      const values: unknown[] = [];
      const bind = (value: unknown): string => `$${values.push(value)}`;
      const { rows } = await on.query<{ count: number }>(
        `select count(*)::integer as count from resource
         where kind = ${bind(kind.kind)} and ${parentCondition(parentRange(kind, within), 'parent', bind)}`,
        values,
      );
      return rows[0]?.count ?? 0;
    },
    async heldBy(workspaces) {
      // Not prepared: a plan kept from when there were few workspaces would read all of them for each.
      const { rows } = await on.query<{ held: number }>(
        `select coalesce((
            select sum(held) from workspace_load where workspace_load.tenant = asked.tenant and workspace_load.workspace = asked.name
          ), 0)::integer as held
          from unnest($1::text[], $2::text[]) with ordinality as asked (tenant, name, position) order by position`,
        [workspaces.map(({ tenant }) => tenant), workspaces.map(({ name }) => name)],
      );
      return rows.map(({ held }) => held);
    },
    async usersOf(uid, kind) {
      const { rows } = await on.query<ResourceRow>(
        `select ${resourceColumns} from resource
         where uid in (select uid from resource_reference where target_uid = $1) and ($2::text is null or kind = $2)
         order by kind, parent, name`,
        [uid, kind?.kind ?? null],
      );
      return rows.map((row) => resourceFromRow(row));
    },
    async referencesOf(uid) {
      const { rows } = await on.query<{ pointer: string; uid: Id<'resource'> }>(
        'select pointer, target_uid as uid from resource_reference where uid = $1 order by pointer',
        [uid],
      );
      return rows;
    },
    ledger: createLedgerReader(on),
    async progressOf(uid) {
      const { rows } = await on.query<{ body: Progress }>('select body from progress where resource_uid = $1', [uid]);
      return rows[0]?.body;
    },
  };
}
