import { type Address, type Id, type Kind, type Progress, parentPath } from '@virt8ra/contract';
import type { Pool, PoolClient } from 'pg';
import { type Asking, askedAlone } from './asked-together.js';
import { createLedgerReader } from './ledger.js';
import { pageQuery, rarityQuery, textFromPosition, walkableTerms } from './page-query.js';
import { type ParentRange, parentCondition, parentRange } from './parent-range.js';
import { type ResourceRow, resourceColumns, resourceFromRow } from './resource-row.js';
import type { LabelTerm, ListQuery, StoreReader } from './store.js';

interface Asked {
  /** Of the question, from 1. */
  readonly position: string;
}

/** Reads on a pool, where what is asked at the same time is read together, or inside the transaction of a client. */
export function createStoreReader(on: Pool | PoolClient, asking: Asking = askedAlone): StoreReader {
  const byAddress = asking<readonly [kind: string, parent: string, name: string], ResourceRow | undefined>(async (asks) => {
    const [first] = asks;
    if (first !== undefined && asks.length === 1) {
      const { rows } = await on.query<ResourceRow>({
        name: 'resource-by-address',
        text: `select ${resourceColumns} from resource where kind = $1 and parent = $2 and name = $3`,
        values: [...first],
      });
      return [rows[0]];
    }
    const { rows } = await on.query<ResourceRow & Asked>({
      name: 'resources-by-address',
      text: `select position, found.* from unnest($1::text[], $2::text[], $3::text[]) with ordinality as asked (kind, parent, name, position)
        cross join lateral (
          select ${resourceColumns} from resource
          where kind = asked.kind and parent = asked.parent and name = asked.name offset 0
        ) as found`,
      values: [asks.map(([kind]) => kind), asks.map(([, parent]) => parent), asks.map(([, , name]) => name)],
    });
    const answers: (ResourceRow | undefined)[] = asks.map(() => undefined);
    for (const row of rows) answers[Number(row.position) - 1] = row;
    return answers;
  });

  const byUid = asking<readonly Id<'resource'>[], readonly ResourceRow[]>(async (asks) => {
    const { rows } = await on.query<ResourceRow>({
      name: 'resource-by-uid',
      text: `select ${resourceColumns} from resource where uid = any($1)`,
      values: [asks.length === 1 ? asks[0] : [...new Set(asks.flat())]],
    });
    const found = new Map(rows.map((row) => [row.uid, row]));
    return asks.map((uids) => uids.flatMap((uid) => found.get(uid) ?? []));
  });

  const heldBy = asking<readonly Pick<Address, 'tenant' | 'name'>[], readonly number[]>(async (asks) => {
    const workspaces = asks.flat();
    // Not prepared: a plan kept from when there were few workspaces would read all of them for each.
    const { rows } = await on.query<{ held: number }>(
      `select coalesce((
          select sum(held) from workspace_load where workspace_load.tenant = asked.tenant and workspace_load.workspace = asked.name
        ), 0)::integer as held
        from unnest($1::text[], $2::text[]) with ordinality as asked (tenant, name, position) order by position`,
      [workspaces.map(({ tenant }) => tenant), workspaces.map(({ name }) => name)],
    );
    const held = rows.values();
    return asks.map((own) => own.map(() => held.next().value?.held ?? 0));
  });

  const usersOf = asking<readonly [target: Id<'resource'>, kind: string | null], readonly ResourceRow[]>(async (asks) => {
    const { rows } = await on.query<ResourceRow & Asked>(
      `select position, found.* from unnest($1::text[], $2::text[]) with ordinality as asked (uid, kind, position)
       cross join lateral (select distinct uid from resource_reference where target_uid = asked.uid offset 0) as user_of
       cross join lateral (
         select ${resourceColumns}, parent from resource
         where resource.uid = user_of.uid and (asked.kind is null or resource.kind = asked.kind) offset 0
       ) as found
       order by position, found.kind, found.parent, found.name`,
      [asks.map(([target]) => target), asks.map(([, kind]) => kind)],
    );
    const answers: ResourceRow[][] = asks.map(() => []);
    for (const row of rows) answers[Number(row.position) - 1]?.push(row);
    return answers;
  });

  const referencesOf = asking<Id<'resource'>, readonly { readonly pointer: string; readonly uid: Id<'resource'> }[]>(async (asks) => {
    const { rows } = await on.query<{ of: Id<'resource'>; pointer: string; uid: Id<'resource'> }>(
      'select uid as of, pointer, target_uid as uid from resource_reference where uid = any($1) order by uid, pointer',
      [[...new Set(asks)]],
    );
    const answers = new Map<Id<'resource'>, { readonly pointer: string; readonly uid: Id<'resource'> }[]>(asks.map((uid) => [uid, []]));
    for (const { of, pointer, uid } of rows) answers.get(of)?.push({ pointer, uid });
    return asks.map((uid) => answers.get(uid) ?? []);
  });

  const statusOfReferred = asking<readonly [uid: Id<'resource'>, member: string], ReadonlyMap<string, unknown>>(async (asks) => {
    const { rows } = await on.query<Asked & { pointer: string; value: unknown }>({
      name: 'status-of-referred',
      text: `select position, given.pointer, referred.value
        from unnest($1::text[], $2::text[]) with ordinality as asked (uid, member, position)
        cross join lateral (select pointer, target_uid from resource_reference where uid = asked.uid offset 0) as given
        cross join lateral (select status -> asked.member as value from resource where uid = given.target_uid offset 0) as referred
        where referred.value is not null`,
      values: [asks.map(([uid]) => uid), asks.map(([, member]) => member)],
    });
    const answers = asks.map(() => new Map<string, unknown>());
    for (const { position, pointer, value } of rows) answers[Number(position) - 1]?.set(pointer, value);
    return answers;
  });

  const driverOf = async (kind: Kind, range: ParentRange, query: ListQuery): Promise<LabelTerm | undefined> => {
    const terms = walkableTerms(range, query);
    if (terms.length < 2) return terms[0];
    const { rows } = await on.query<Record<string, number>>(rarityQuery(kind, range, terms));
    const counts = terms.map((_, index) => rows[0]?.[`term_${index}`] ?? 0);
    return terms[counts.indexOf(Math.min(...counts))];
  };

  return {
    async get(kind, address) {
      const row = await byAddress([kind.kind, parentPath(kind, address), address.name]);
      return row === undefined ? undefined : resourceFromRow(row);
    },
    async getByUid(uid) {
      const [row] = await byUid([uid]);
      return row === undefined ? undefined : resourceFromRow(row);
    },
    async getManyByUid(uids) {
      return uids.length === 0 ? [] : (await byUid(uids)).map((row) => resourceFromRow(row));
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
    heldBy: async (workspaces) => await heldBy(workspaces),
    async usersOf(uid, kind) {
      return (await usersOf([uid, kind?.kind ?? null])).map((row) => resourceFromRow(row));
    },
    referencesOf: async (uid) => await referencesOf(uid),
    statusOfReferred: async (uid, member) => await statusOfReferred([uid, member]),
    ledger: createLedgerReader(on),
    async progressOf(uid) {
      const { rows } = await on.query<{ body: Progress }>('select body from progress where resource_uid = $1', [uid]);
      return rows[0]?.body;
    },
  };
}
