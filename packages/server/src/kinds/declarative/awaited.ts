import { type Id, type Kind, kinds, routeTable, securityGroup, subnet, urnFromAddress } from '@virt8ra/contract';
import type { Migration } from '@virt8ra/engine';
import type { StoreTransaction } from '../../resources/store.js';
import type { StoredResource } from '../../resources/stored-resource.js';
import { namesOtherWorkspaces } from '../authorization/index.js';
import type { AwaitedReference } from '../behaviour.js';

export const declarativeMigrations: readonly Migration[] = [
  {
    name: 'declarative-0001-awaited',
    sql: `
      -- References to what is not there yet, or not any more.
      create table awaited_reference (
        uid text collate "C" not null references resource (uid) on delete cascade,
        pointer text not null,
        urn text collate "C" not null,
        primary key (uid, pointer)
      );
      create index awaited_reference_of on awaited_reference (urn);
      -- What was accepted and waits until another lets go.
      create table awaited_turn (
        uid text collate "C" primary key references resource (uid) on delete cascade,
        what text not null check (what in ('put', 'delete'))
      );`,
  },
];

export type Turn = 'put' | 'delete';

export async function turnOf(tx: StoreTransaction, uid: Id<'resource'>): Promise<Turn | undefined> {
  const { rows } = await tx.client.query<{ what: Turn }>('select what from awaited_turn where uid = $1', [uid]);
  return rows[0]?.what;
}

export async function setTurn(tx: StoreTransaction, uid: Id<'resource'>, turn: Turn | undefined): Promise<void> {
  await tx.client.query('delete from awaited_turn where uid = $1', [uid]);
  if (turn !== undefined) await tx.client.query('insert into awaited_turn (uid, what) values ($1, $2)', [uid, turn]);
}

export async function setAwaited(tx: StoreTransaction, uid: Id<'resource'>, awaited: readonly AwaitedReference[]): Promise<void> {
  await tx.client.query('delete from awaited_reference where uid = $1', [uid]);
  await tx.client.query(
    `insert into awaited_reference (uid, pointer, urn) select $1, pointer, urn from unnest($2::text[], $3::text[]) as each (pointer, urn)`,
    [uid, awaited.map(({ pointer }) => pointer), awaited.map(({ urn }) => urn)],
  );
}

export async function isAwaiting(tx: StoreTransaction, uid: Id<'resource'>): Promise<boolean> {
  return (await tx.client.query('select 1 from awaited_reference where uid = $1 limit 1', [uid])).rowCount !== 0;
}

/** Wakes those that wait for a resource which has just been made. */
export async function wakeAwaiting(tx: StoreTransaction, resource: StoredResource): Promise<void> {
  const kind = kindOf(resource);
  if (kind === undefined) return;
  const { rows } = await tx.client.query<{ kind: string; uid: Id<'resource'> }>(
    'select distinct kind, uid from awaited_reference join resource using (uid) where urn = $1',
    [urnFromAddress(kind, resource.address)],
  );
  for (const { kind: waiting, uid } of rows) await tx.nudge(waiting, uid);
}

/** References that do not keep what they name: whoever has them goes on without. */
const loose: readonly { readonly kind: Kind; readonly pointer: RegExp }[] = [
  { kind: routeTable, pointer: /^\/spec\/routes\/\d+\/targetRef$/ },
  { kind: securityGroup, pointer: /^\/spec\/ruleRefs\/\d+$/ },
  { kind: subnet, pointer: /^\/spec\/routeTableRef$/ },
];

/** Takes the loose references to a resource that is to go from those who have them; they wait for another of its name. */
export async function letGo(tx: StoreTransaction, going: StoredResource): Promise<void> {
  const kind = kindOf(going);
  if (kind === undefined) return;
  const urn = urnFromAddress(kind, going.address);
  for (const user of await tx.usersOf(going.uid)) {
    const pointers = (await tx.referencesOf(user.uid))
      .filter(({ uid, pointer }) => uid === going.uid && (isLoose(user, pointer) || namesOtherWorkspaces(user, going)))
      .map(({ pointer }) => pointer);
    if (pointers.length === 0) continue;
    await tx.client.query('delete from resource_reference where uid = $1 and pointer = any($2)', [user.uid, pointers]);
    await tx.client.query(
      `insert into awaited_reference (uid, pointer, urn) select $1, pointer, $3 from unnest($2::text[]) as each (pointer) on conflict do nothing`,
      [user.uid, pointers, urn],
    );
    await tx.nudge(user.kind, user.uid);
  }
}

function isLoose(user: StoredResource, at: string): boolean {
  return loose.some(({ kind, pointer }) => kind.kind === user.kind && pointer.test(at));
}

function kindOf(resource: StoredResource): Kind | undefined {
  return kinds.find(({ kind }) => kind === resource.kind);
}
