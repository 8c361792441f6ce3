import { instance, type Kind, network, nic, Problem, publicIp, routeTable, subnet, workspace } from '@virt8ra/contract';
import type { Outcome } from '@virt8ra/engine';
import type { NewCondition } from '../../resources/conditions.js';
import type { Store, StoreTransaction } from '../../resources/store.js';
import type { StoredResource } from '../../resources/stored-resource.js';
import type { Admission, KindBehaviour, PutRequest, Subject } from '../behaviour.js';
import { isAwaiting, letGo, setAwaited, setTurn, turnOf } from './awaited.js';

/** Who admits what was accepted before. */
const itself: Subject = { name: 'virt8ra', operator: true, tenants: 'all', remote: '-' };

const turnSeconds = 0.5;
/** Whoever is made wakes those that wait for it; this is for one that was made at the very moment. */
const awaitedSeconds = 5;

/**
 * The same kind with declarative references. What the kind's admission says to wait for is shown in its history and looked for; a
 * creation that is in conflict with what another holds is accepted, shown as waiting and admitted when the other lets go; a deletion is
 * accepted when whatever uses the resource is going itself, or does not keep it.
 */
export function declarativeBehaviour(behaviour: KindBehaviour, store: Store, behaviours: () => readonly KindBehaviour[]): KindBehaviour {
  const { kind } = behaviour;
  if (kind.scope === 'global' || !kind.provider.startsWith('seca.')) return behaviour;

  return {
    ...behaviour,
    async admitPut(tx, request) {
      const { previous } = request;
      if (previous === undefined || (await turnOf(tx, previous.uid)) === 'put')
        return await admitInTurn(behaviour, tx, { ...request, previous: undefined });
      return told(await admitted(behaviour, tx, request));
    },
    async afterPut(tx, resource, request, admission) {
      await setAwaited(tx, resource.uid, admission.awaited ?? []);
      await setTurn(tx, resource.uid, admission.inTurn === true ? 'put' : undefined);
      if (admission.inTurn !== true) await behaviour.afterPut?.(tx, resource, request, admission);
    },
    async admitDelete(tx, resource, subject) {
      if ((await turnOf(tx, resource.uid)) === 'put') return;
      await letGo(tx, resource);
      if (kind === network) await dropSubnets(tx, resource, behaviours());
      const refusal = await refusalOf(tx, async () => await behaviour.admitDelete?.(tx, resource, subject));
      if (refusal === undefined) return;
      if (!(await isHeldByGoing(tx, resource))) throw refusal;
      await setTurn(tx, resource.uid, 'delete');
    },
    async goesAtOnce(tx, { uid }) {
      if (behaviour.reconcile !== undefined) return false;
      return (await turnOf(tx, uid)) !== 'delete';
    },
    async reconcile(resource) {
      const answer = await store.transaction(async (tx): Promise<Outcome | undefined> => {
        const held = await tx.lock(resource.uid);
        if (held === undefined) return { gone: true };
        return held.deletedAt === undefined ? await readmit(behaviour, tx, held) : await goInTurn(behaviour, tx, held);
      });
      if (answer !== undefined && ('gone' in answer || behaviour.reconcile === undefined || answer === inTurn)) return answer;
      const current = await store.getByUid(resource.uid);
      if (current === undefined) return { gone: true };
      return (await behaviour.reconcile?.(current)) ?? answer ?? { done: true };
    },
  };
}

/** Kinds whose creation may wait for what another holds, with what is known of one that waits. */
const turnTakers: ReadonlyMap<Kind, object> = new Map<Kind, object>([
  [instance, { powerState: 'off' }],
  [subnet, {}],
  [nic, {}],
  [publicIp, {}],
]);

const inTurn: Outcome = { waitSeconds: turnSeconds, reason: 'waits its turn' };

async function admitted(
  behaviour: KindBehaviour,
  tx: StoreTransaction,
  request: PutRequest<unknown, unknown>,
): Promise<Admission<unknown>> {
  return (await behaviour.admitPut?.(tx, request)) ?? { outcome: behaviour.reconcile === undefined ? 'active' : 'creating' };
}

/** A creation, which may have to wait for what another holds. */
async function admitInTurn(
  behaviour: KindBehaviour,
  tx: StoreTransaction,
  request: PutRequest<unknown, unknown>,
): Promise<Admission<unknown>> {
  let admission: Admission<unknown> | undefined;
  const refusal = await refusalOf(tx, async () => {
    admission = await admitted(behaviour, tx, request);
  });
  if (refusal === undefined && admission !== undefined) return told(admission);
  const status = turnTakers.get(behaviour.kind);
  if (status === undefined) throw refusal ?? new Problem('internal', 'an admission that is neither given nor refused');
  const message = refusal?.message ?? '';
  return { outcome: 'creating', references: [], status, inTurn: true, type: 'Admitted', reason: 'WaitsItsTurn', message };
}

/** What is waited for is said in the history. */
function told(admission: Admission<unknown>): Admission<unknown> {
  const { awaited = [] } = admission;
  if (awaited.length === 0) return admission;
  return {
    ...admission,
    type: 'References',
    reason: 'DependencyMissing',
    message: `waits for ${awaited.map(({ urn }) => urn).join(', ')}`,
  };
}

/** The conflict that `work` raises, all of whose writes are undone then; undefined when it raises nothing. */
async function refusalOf(tx: StoreTransaction, work: () => Promise<unknown>): Promise<Problem | undefined> {
  await tx.client.query('savepoint declarative');
  try {
    await work();
  } catch (thrown) {
    if (!(thrown instanceof Problem) || thrown.kind !== 'conflict') throw thrown;
    await tx.client.query('rollback to savepoint declarative');
    return thrown;
  }
  await tx.client.query('release savepoint declarative');
  return undefined;
}

/** Undefined when nothing is waited for: the kind's own work goes on. */
async function readmit(behaviour: KindBehaviour, tx: StoreTransaction, held: StoredResource): Promise<Outcome | undefined> {
  const first = (await turnOf(tx, held.uid)) === 'put';
  if (!first && !(await isAwaiting(tx, held.uid))) return undefined;
  const { labels, annotations, extensions, spec } = held;
  const request = {
    address: held.address,
    next: { labels, annotations, extensions, spec },
    previous: first ? undefined : held,
    subject: itself,
    again: true,
  };
  try {
    const admission = first ? await admitInTurn(behaviour, tx, request) : told(await admitted(behaviour, tx, request));
    if (admission.inTurn === true) {
      await tx.setStatus(held.uid, {}, { state: 'creating', type: 'Admitted', reason: 'WaitsItsTurn', message: admission.message ?? '' });
      return inTurn;
    }
    await write(behaviour.kind, tx, held, admission);
    await setTurn(tx, held.uid, undefined);
    await setAwaited(tx, held.uid, admission.awaited ?? []);
    if (first) await behaviour.afterPut?.(tx, held, request, admission);
    return (admission.awaited ?? []).length === 0 ? undefined : { waitSeconds: awaitedSeconds, reason: admission.message ?? '' };
  } catch (thrown) {
    if (!(thrown instanceof Problem)) throw thrown;
    await tx.setStatus(held.uid, {}, { state: held.state, type: 'References', reason: 'DependencyUnfit', message: thrown.message });
    return { waitSeconds: awaitedSeconds, reason: thrown.message };
  }
}

async function write(kind: Kind, tx: StoreTransaction, held: StoredResource, admission: Admission<unknown>): Promise<void> {
  const { labels, annotations, extensions, spec, state: before } = held;
  const state = admission.outcome === 'active' ? 'active' : before === 'active' ? 'updating' : before;
  const condition: NewCondition = {
    state,
    type: admission.type ?? 'References',
    reason: admission.reason ?? 'DependenciesThere',
    ...(admission.message === undefined ? {} : { message: admission.message }),
  };
  await tx.put({
    kind,
    address: held.address,
    labels,
    annotations,
    extensions,
    spec,
    ...(admission.status === undefined ? {} : { status: admission.status as Readonly<Record<string, unknown>> }),
    ...(admission.references === undefined ? {} : { references: admission.references }),
    state,
    conditions: [condition],
  });
}

/** Undefined when it may go now, by its kind's own work. */
async function goInTurn(behaviour: KindBehaviour, tx: StoreTransaction, held: StoredResource): Promise<Outcome | undefined> {
  const turn = await turnOf(tx, held.uid);
  if (turn === 'delete') {
    const refusal = await refusalOf(tx, async () => await behaviour.admitDelete?.(tx, held, itself));
    if (refusal !== undefined) {
      await tx.setStatus(held.uid, {}, { state: 'deleting', type: 'Removed', reason: 'WaitsItsTurn', message: refusal.message });
      return inTurn;
    }
    await setTurn(tx, held.uid, undefined);
  }
  // What was never admitted has nothing anywhere.
  if (turn !== 'put' && behaviour.reconcile !== undefined) return undefined;
  await tx.remove(held.uid);
  return { gone: true };
}

/** Whatever keeps it from going is going itself. */
async function isHeldByGoing(tx: StoreTransaction, { uid, kind, address }: StoredResource): Promise<boolean> {
  if (kind === workspace.kind) {
    const { rows } = await tx.client.query<{ stays: boolean }>(
      `select exists (select 1 from resource where deleted_at is null and (parent = $1 or parent like $1 || '/%')) as stays`,
      [`tenants/${address.tenant ?? ''}/workspaces/${address.name}`],
    );
    return rows[0]?.stays === false;
  }
  const users = await tx.usersOf(uid);
  return users.length > 0 && users.every(({ deletedAt }) => deletedAt !== undefined);
}

/** A network takes its subnets along, unless they are used; its route tables keep it. */
async function dropSubnets(tx: StoreTransaction, going: StoredResource, behaviours: readonly KindBehaviour[]): Promise<void> {
  const { name, ...within } = going.address;
  if ((await tx.count(routeTable, { ...within, network: name })) > 0) return;
  const behaviour = behaviours.find(({ kind }) => kind === subnet);
  const page = await tx.list(subnet, { ...within, network: name }, { selector: [], limit: 1000, after: undefined });
  for (const each of page.items) {
    await behaviour?.admitDelete?.(tx, each, itself);
    await tx.markDeleted(each.uid);
    await tx.remove(each.uid);
  }
}
