import {
  type Address,
  addressFromReference,
  type Id,
  type Kind,
  kinds,
  newId,
  Problem,
  parentPath,
  urnFromAddress,
} from '@virt8ra/contract';
import type { WorkQueue } from '@virt8ra/engine';
import type { PoolClient } from 'pg';
import { grownHistory, repeatsNewest, stateWhileGoing } from './conditions.js';
import { fingerprint } from './fingerprint.js';
import { jsonEqual } from './json-equal.js';
import { createLedgerWriter } from './ledger.js';
import { createOwnChanges, placeText } from './own-changes.js';
import { writeProgress } from './progress.js';
import { createResourceRows } from './resource-rows.js';
import type { AuditEntry, ResourceWrite, StoreTransaction } from './store.js';
import { createStoreReader } from './store-reader.js';
import type { ResolvedReference, StoredResource } from './stored-resource.js';

export interface TransactionOptions {
  readonly client: PoolClient;
  readonly queue: Pick<WorkQueue, 'nudge'>;
  readonly now: () => Date;
  /** Tenants whose images and SKUs everybody may refer to. */
  readonly sharedTenants: readonly string[];
  /** Called with each resource that was made or changed by a PUT, in the transaction; what it raises undoes that. */
  readonly onPut: ((tx: StoreTransaction, resource: StoredResource) => Promise<void>) | undefined;
}

type Fields = Pick<StoredResource, 'labels' | 'annotations' | 'extensions' | 'spec'>;

/** A transaction with what only the store itself does with it. */
export interface OpenTransaction extends StoreTransaction {
  /** The last of a transaction: sends the rows of its audit, with what nobody else has written down. */
  writeAudit(): readonly Promise<unknown>[];
}

export function createStoreTransaction({ client, queue, now, sharedTenants, onPut }: TransactionOptions): OpenTransaction {
  const rows = createResourceRows(client);
  const reader = createStoreReader(client);
  const own = createOwnChanges();

  const audited: { readonly at: Date; readonly entry: AuditEntry }[] = [];
  const sendAudit = async (at: Date, entry: AuditEntry): Promise<void> => {
    await client.query({
      name: 'audit-insert',
      text: `insert into audit (id, at, subject, remote, verb, resource, code, before, after, reason) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`,
      values: [
        newId('audit', at.getTime()),
        at,
        entry.subject,
        entry.remote,
        entry.verb,
        entry.resource,
        entry.code,
        entry.before ?? null,
        entry.after ?? null,
        entry.reason ?? null,
      ],
    });
  };

  const lockOrFail = async (uid: Id<'resource'>): Promise<StoredResource> => {
    const resource = await rows.lock(uid);
    if (resource === undefined) throw new Problem('not-found', `there is no resource ${uid}`);
    return resource;
  };

  const create = async (write: ResourceWrite, fields: Fields): Promise<StoredResource> => {
    const at = now().toISOString();
    const resource = await rows.insert(
      {
        uid: newId('resource', now().getTime()),
        kind: write.kind.kind,
        address: write.address,
        ...fields,
        status: withoutUndefined(write.status ?? {}),
        state: write.state,
        conditions: grownHistory([], write.conditions, at),
        resourceVersion: 1,
        createdAt: at,
        lastModifiedAt: at,
        deletedAt: undefined,
      },
      { parent: parentPath(write.kind, write.address), ref: urnFromAddress(write.kind, write.address) },
    );
    await setReferences(resource.uid, write.references ?? [], true);
    own.note('put', urnFromAddress(write.kind, write.address), { code: 201, after: fingerprint(resource) });
    return resource;
  };

  const replace = async (held: StoredResource, write: ResourceWrite, fields: Fields): Promise<StoredResource> => {
    if (held.deletedAt !== undefined) throw new Problem('conflict', `${held.kind} ${held.address.name} is being deleted`);
    const at = now().toISOString();
    const changed = !jsonEqual(fieldsOf(held), fields);
    const status = mergedStatus(held.status, write.status ?? {});
    const newest = write.conditions[0];
    const told = newest === undefined || (!changed && repeatsNewest(held.conditions, newest));
    if (write.references !== undefined) await setReferences(held.uid, write.references, false);
    if (!changed && told && write.state === held.state && jsonEqual(status, held.status)) return held;
    const next = await rows.update(
      held,
      {
        ...(changed ? { ...fields, resourceVersion: held.resourceVersion + 1, lastModifiedAt: at } : {}),
        status,
        state: write.state,
        conditions: told ? held.conditions : grownHistory(held.conditions, write.conditions, at),
      },
      'put',
    );
    if (changed)
      own.note('put', urnFromAddress(write.kind, write.address), { code: 200, before: fingerprint(held), after: fingerprint(next) });
    return next;
  };

  async function setReferences(uid: Id<'resource'>, references: readonly ResolvedReference[], fresh: boolean): Promise<void> {
    if (!fresh) await client.query('delete from resource_reference where uid = $1', [uid]);
    if (references.length === 0) return;
    await client.query(
      `insert into resource_reference (uid, pointer, target_uid, given)
       select $1, pointer, target_uid, given from unnest($2::text[], $3::text[], $4::jsonb[]) as given_reference (pointer, target_uid, given)`,
      [
        uid,
        references.map((each) => each.pointer),
        references.map((each) => each.uid),
        references.map((each) => JSON.stringify(each.given)),
      ],
    );
  }

  const tx: OpenTransaction = {
    ...reader,
    client,
    share: rows.share as StoreTransaction['share'],
    lock: rows.lock as StoreTransaction['lock'],
    lockAt: rows.lockAt as StoreTransaction['lockAt'],
    async resolve(kind, reference, from, pointer) {
      const address = addressFromReference(kind, reference, from, pointer);
      // A foreign tenant's resource is answered like one that is not there, so that nothing can be found out by asking.
      const target = isWithinReach(kind, address, from, sharedTenants) ? await rows.share(kind, address) : undefined;
      if (target === undefined || target.deletedAt !== undefined) {
        const why = target === undefined ? 'does not exist' : 'is being deleted';
        throw new Problem('validation', `${kind.kind} ${urnFromAddress(kind, address)} ${why}`, { sources: [{ pointer }] });
      }
      return { target: target as StoredResource<never, never>, reference: { pointer, given: reference, uid: target.uid } };
    },
    async put(write) {
      const fields = {
        labels: write.labels ?? {},
        annotations: write.annotations ?? {},
        extensions: write.extensions ?? {},
        spec: write.spec,
      };
      const held = await rows.lockAt(write.kind, write.address);
      const resource = held === undefined ? await create(write, fields) : await replace(held, write, fields);
      if (held?.resourceVersion !== resource.resourceVersion) await onPut?.(tx, resource);
      return resource;
    },
    async setStatus(uid, patch, condition) {
      const held = await lockOrFail(uid);
      const status = mergedStatus(held.status, patch);
      const added = condition === undefined ? undefined : stateWhileGoing(held.deletedAt !== undefined, condition);
      const told = added === undefined || repeatsNewest(held.conditions, added);
      const state = added?.state ?? held.state;
      if (told && state === held.state && jsonEqual(status, held.status)) return;
      const conditions = told ? held.conditions : grownHistory(held.conditions, [added], now().toISOString());
      const [before, after] = [placementOf(held.status), placementOf(status)];
      const moved = !jsonEqual(before, after);
      await rows.update(held, { status, state, conditions }, moved ? 'placement' : 'status');
      if (moved) own.note('place', refOf(held), { code: 200, ...places(before, after) });
    },
    setReferences: async (uid, references) => await setReferences(uid, references, false),
    async remove(uid) {
      const held = await rows.lock(uid);
      if (held === undefined) return;
      const left = await reader.ledger.ofResource(uid);
      if (left.length > 0) {
        throw new Problem(
          'internal',
          `${held.kind} ${held.address.name} cannot be taken out: the ledger still has ${left.length} realizations`,
          {
            facts: { uid, keys: left.map((realization) => realization.key) },
          },
        );
      }
      await rows.remove(held, now());
      own.note('remove', refOf(held), { code: 200, before: fingerprint(held) });
    },
    async markDeleted(uid) {
      const held = await lockOrFail(uid);
      if (held.deletedAt !== undefined) return;
      const at = now().toISOString();
      const conditions = grownHistory(held.conditions, [{ state: 'deleting' }], at);
      await rows.update(held, { state: 'deleting', conditions, deletedAt: at }, 'status');
      own.note('delete', refOf(held), { code: 202, before: fingerprint(held) });
    },
    ledger: createLedgerWriter(client, now),
    setProgress: async (uid, progress) => await writeProgress(client, uid, progress, now()),
    async audit(entry) {
      own.covered(entry.resource);
      audited.push({ at: now(), entry });
    },
    writeAudit: () =>
      [...audited, ...own.rest().map((entry) => ({ at: now(), entry }))].map(async ({ at, entry }) => await sendAudit(at, entry)),
    async nudge(kind, uid, afterSeconds) {
      const tenant = rows.seen(uid)?.address.tenant;
      await queue.nudge(
        `${kind}/${uid}`,
        { ...(afterSeconds === undefined ? {} : { afterSeconds }), ...(tenant === undefined ? {} : { lane: tenant }) },
        client,
      );
    },
  };
  return tx;
}

/** Nothing of another tenant can be referred to, but for the catalogue of a shared one. */
function isWithinReach(kind: Kind, target: Address, from: Omit<Address, 'name'>, sharedTenants: readonly string[]): boolean {
  if (target.tenant === undefined || from.tenant === undefined || target.tenant === from.tenant) return true;
  return kind.scope === 'tenant' && sharedTenants.includes(target.tenant);
}

function refOf({ kind, address }: StoredResource): string {
  const known = kinds.find((each) => each.kind === kind);
  return known === undefined ? `${kind}/${address.name}` : urnFromAddress(known, address);
}

/** Where it was and is, for the audit. */
function places(before: unknown, after: unknown): Pick<AuditEntry, 'before' | 'after'> {
  const [from, to] = [placeText(before), placeText(after)];
  return { ...(from === undefined ? {} : { before: from }), ...(to === undefined ? {} : { after: to }) };
}

function fieldsOf(resource: StoredResource): Fields {
  return { labels: resource.labels, annotations: resource.annotations, extensions: resource.extensions, spec: resource.spec };
}

function mergedStatus(status: unknown, patch: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  return withoutUndefined({ ...(status as Record<string, unknown>), ...patch });
}

function withoutUndefined(value: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  return Object.fromEntries(Object.entries(value).filter(([, member]) => member !== undefined));
}

function placementOf(status: unknown): unknown {
  return (status as { readonly placement?: unknown } | undefined)?.placement;
}
