import { type Address, type Kind, kinds, type PlacePart, Problem, partsOfScope, urnFromAddress } from '@virt8ra/contract';
import type { Admission, KindBehaviour, Subject } from '../kinds/behaviour.js';
import type { NewCondition } from '../resources/conditions.js';
import { fingerprint } from '../resources/fingerprint.js';
import { jsonEqual } from '../resources/json-equal.js';
import type { Store, StoreTransaction } from '../resources/store.js';
import type { ResolvedReference, StoredResource } from '../resources/stored-resource.js';
import { endWithholding } from '../standstill/withheld.js';
import type { Access } from './access.js';
import { assertUnchanged } from './immutability.js';
import { assertVersion } from './precondition.js';
import { kindOfPart } from './request-address.js';
import { createResourceBodyParser, type ResourceBody } from './resource-body.js';

export interface PutCall {
  readonly address: Address;
  readonly body: unknown;
  /** `resourceVersion` the caller has read. */
  readonly version: number | undefined;
  readonly subject: Subject;
}

export interface PutAnswer {
  readonly resource: StoredResource;
  readonly created: boolean;
}

/** Where the profiles of the API differ. */
export interface PutPolicy {
  /** A PUT that says what stands already counts as a change in the history. */
  readonly countsRepeats: boolean;
  /** Immutable parts that may change all the same, as `KIND POINTER`. */
  readonly mutable: readonly string[];
}

const strictPuts: PutPolicy = { countsRepeats: false, mutable: [] };

/**
 * Create-or-replace. The whole of it is one transaction: the lock on the row, the kind's own rules, the change with its history, audit and
 * nudge. What is equal to what stands already writes nothing. The states passed inside the request are in the history when it answers.
 */
export function createPutResource(
  store: Store,
  behaviour: KindBehaviour,
  { region, access, policy = strictPuts }: { readonly region: string; readonly access: Pick<Access, 'seen'>; readonly policy?: PutPolicy },
): (call: PutCall) => Promise<PutAnswer> {
  const { kind } = behaviour;
  const parse = createResourceBodyParser(kind, region);

  return async ({ address, body, version, subject }) => {
    const next = parse(body, address);
    const seen = await access.seen(subject, address.tenant);
    return await store.transaction(async (tx) => {
      const previous = await tx.lockAt(kind, address);
      assertVersion(version, previous);
      if (previous === undefined) await assertParent(tx, kind, address);
      else {
        if (previous.deletedAt !== undefined)
          throw new Problem('conflict', `${kind.kind} ${address.name} is being deleted; wait until it is gone`);
        if (isEqual(previous, next) && !policy.countsRepeats) {
          // Saying it again is how an owner asks for another try.
          if (previous.state === 'error' && behaviour.reconcile !== undefined) {
            await endWithholding(tx.client, previous.uid);
            await tx.nudge(kind.kind, previous.uid);
          }
          return { resource: previous, created: false };
        }
        assertUnchanged(kind, previous.spec, next.spec, policy.mutable);
      }
      const request = { address, next, previous, subject };
      const admission = await admit(behaviour, tx, request);
      await assertWithinReach(tx, admission.references ?? [], address, seen);
      const conditions = conditionsOf(admission, previous === undefined);
      if (previous !== undefined && isEqual(previous, next)) return { resource: await passAgain(tx, previous, conditions), created: false };
      const resource = await tx.put({
        kind,
        address,
        ...next,
        ...(admission.status === undefined ? {} : { status: admission.status as Readonly<Record<string, unknown>> }),
        ...(admission.references === undefined ? {} : { references: admission.references }),
        state: conditions[0]?.state ?? 'pending',
        conditions,
      });
      await tx.audit({
        subject: subject.name,
        remote: subject.remote,
        verb: 'put',
        resource: urnFromAddress(kind, address),
        code: previous === undefined ? 201 : 200,
        ...(previous === undefined ? {} : { before: fingerprint(previous) }),
        after: fingerprint(resource),
      });
      await behaviour.afterPut?.(tx, resource, request, admission);
      if (behaviour.reconcile !== undefined) await tx.nudge(kind.kind, resource.uid);
      return { resource, created: previous === undefined };
    });
  };
}

async function admit(
  behaviour: KindBehaviour,
  tx: StoreTransaction,
  request: Parameters<NonNullable<KindBehaviour['admitPut']>>[1],
): Promise<Admission<unknown>> {
  if (behaviour.admitPut !== undefined) return await behaviour.admitPut(tx, request);
  return { outcome: behaviour.reconcile === undefined ? 'active' : 'creating' };
}

/** What was said again, with the states that a change would have passed; its own reconcile ends those that last. */
async function passAgain(tx: StoreTransaction, held: StoredResource, conditions: readonly NewCondition[]): Promise<StoredResource> {
  for (const condition of conditions.toReversed()) await tx.setStatus(held.uid, {}, condition);
  await tx.nudge(held.kind, held.uid);
  return (await tx.lock(held.uid)) ?? held;
}

/** Who may not see what is in another workspace cannot take it into their own either: it is answered like one that is not there. */
async function assertWithinReach(
  tx: StoreTransaction,
  references: readonly ResolvedReference[],
  from: Address,
  seen: Awaited<ReturnType<Access['seen']>>,
): Promise<void> {
  if (references.length === 0) return;
  const targets = new Map((await tx.getManyByUid(references.map(({ uid }) => uid))).map((target) => [target.uid, target]));
  for (const { uid, pointer } of references) {
    const target = targets.get(uid);
    const { name, ...place } = target?.address ?? { name: '' };
    const kind = kinds.find((each) => each.kind === target?.kind);
    if (kind === undefined || place.workspace === undefined || place.workspace === from.workspace) continue;
    if (!seen({ kind, place, name }))
      throw new Problem('validation', `${kind.kind} ${urnFromAddress(kind, { ...place, name })} does not exist`, {
        sources: [{ pointer }],
      });
  }
}

/** Newest first. */
function conditionsOf(admission: Admission<unknown>, created: boolean): readonly NewCondition[] {
  const why = {
    ...(admission.type === undefined ? {} : { type: admission.type }),
    ...(admission.reason === undefined ? {} : { reason: admission.reason }),
    ...(admission.message === undefined ? {} : { message: admission.message }),
  };
  const passing: NewCondition = { state: created ? 'creating' : 'updating' };
  const before: readonly NewCondition[] = created ? [{ state: 'pending' }] : [];
  return admission.outcome === 'active' ? [{ state: 'active', ...why }, passing, ...before] : [{ ...passing, ...why }, ...before];
}

/** A resource is made only in a parent that stands, which is held so that it cannot go at the same moment. */
async function assertParent(tx: StoreTransaction, kind: Kind, address: Address): Promise<void> {
  const place: Partial<Record<PlacePart, string>> = {};
  for (const part of partsOfScope[kind.scope]) {
    const name = address[part] ?? '';
    const parent = kindOfPart[part];
    if (parent !== undefined) await assertStanding(tx, parent, { ...place, name }, part);
    place[part] = name;
  }
}

async function assertStanding(tx: StoreTransaction, kind: Kind, address: Address, parameter: string): Promise<void> {
  const parent = await tx.share(kind, address);
  const sources = [{ parameter }];
  if (parent === undefined) throw new Problem('not-found', `there is no ${kind.kind} ${address.name}; make it first`, { sources });
  if (parent.deletedAt !== undefined) throw new Problem('conflict', `${kind.kind} ${address.name} is being deleted`, { sources });
}

function isEqual(previous: StoredResource, next: ResourceBody): boolean {
  return (
    jsonEqual(previous.spec, next.spec) &&
    jsonEqual(previous.labels, next.labels) &&
    jsonEqual(previous.annotations, next.annotations) &&
    jsonEqual(previous.extensions, next.extensions)
  );
}
