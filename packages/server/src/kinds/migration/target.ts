import { isBooted, Problem } from '@virt8ra/contract';
import type { BlockStorageRealizationSpec, Handle, ReceiveSpec, Seed } from '@virt8ra/driver';
import type { Poll, StepContext } from '@virt8ra/engine';
import type { KindContext } from '../context.js';
import { currentPermit, grantPermit, promisePermit, recordSurrender } from '../instance/index.js';
import type { MoveInput, MovePlan, PlannedVolume, Prepared } from './plan.js';
import { prepareOf } from './prepare-guest.js';
import { seedsOf } from './seeds.js';
import { call, facetsAt, lastStatusOf, removeByKey, statusOf, write } from './site-facets.js';
import { showPhase, specificationAt } from './subjects.js';

/** Bytes that a guest reads from its disk before it can be said to boot; the firmware alone reads less. */

/** What the arriving disk is asked to be. */
export function incomingSpec(
  plan: MovePlan,
  volume: PlannedVolume,
  wanted: { readonly settle: boolean; readonly digestRequest?: string },
): BlockStorageRealizationSpec {
  return { sizeBytes: volume.sizeBytes, host: plan.to.host, source: { type: 'incoming', transferId: plan.transfer.key }, ...wanted };
}

/** Networks, empty disks and the receiving end at the target. Raises `unavailable` while the networks are being made. */
export async function prepareTarget(context: KindContext, step: StepContext, input: MoveInput, plan: MovePlan): Promise<Prepared> {
  await write(context, step, async (tx) => await showPhase(tx, input.migration, 'prepare'));
  const { blockStorages, disks, instances } = await facetsAt(context, plan.to.site);
  // Building the specification makes the networks; the rest of it is built again at the start.
  await call(step, async () => await specificationAt(context, plan, plan.to, { power: 'off', volumes: [] }));
  const volumes: Handle[] = [];
  for (const volume of plan.volumes) {
    const { id, key } = volume.target;
    const handle = await call(step, async () => await blockStorages.create(incomingSpec(plan, volume, { settle: false }), key));
    await write(context, step, async (tx) => await tx.ledger.confirm(id, handle));
    volumes.push(handle);
  }
  let instance: Handle | undefined;
  if (plan.mode === 'live') {
    const spec = await specificationAt(context, plan, plan.to, { power: 'on', volumes });
    instance = await call(step, async () => await instances.create(spec, plan.instance.target.key));
    const made = instance;
    await write(context, step, async (tx) => await tx.ledger.confirm(plan.instance.target.id, made));
  }
  const seeds = await call(step, async () => await seedsOf(context, plan));
  // What was begun with one seed goes on with it, whatever else appears there meanwhile.
  await write(context, step, async (tx) => await tx.ledger.setFacts(plan.transfer.id, { seeds: seeds.map((seed) => seed ?? null) }));
  const spec = await receiveSpecOf(context, plan, volumes, instance);
  const receiver = await call(step, async () => await disks.receive(spec, plan.transfer.key));
  await write(context, step, async (tx) => await tx.ledger.confirm(plan.transfer.id, receiver));
  return { volumes, receiver, ...(instance === undefined ? {} : { instance }) };
}

/** What the receiving end is asked to be. */
export async function receiveSpecOf(
  context: KindContext,
  plan: MovePlan,
  volumes: readonly Handle[],
  instance: Handle | undefined,
  probe?: ReceiveSpec['probe'],
): Promise<ReceiveSpec> {
  const source = await facetsAt(context, plan.from.site);
  const transfer = await context.store.ledger.byKey(plan.transfer.key);
  const seeds = (transfer?.facts['seeds'] as readonly (Seed | null)[] | undefined) ?? [];
  return {
    host: plan.to.host,
    ...(instance === undefined ? {} : { instance }),
    disks: plan.volumes.map(({ sizeBytes }, index) => {
      const seed = seeds[index] ?? undefined;
      return { volume: at(volumes, index), sizeBytes, ...(seed === undefined ? {} : { seed }) };
    }),
    peerName: source.disks.peerName(plan.from.host),
    goal: 'receive',
    ...(plan.guestChanges === undefined
      ? {}
      : { prepare: prepareOf(plan.guestChanges, await specificationAt(context, plan, plan.to, { power: 'off', volumes: [] })) }),
    ...(probe === undefined ? {} : { probe }),
  };
}

function at(handles: readonly Handle[], index: number): Handle {
  const handle = handles[index];
  if (handle === undefined) throw new Problem('internal', 'a disk was prepared without a handle');
  return handle;
}

/** Undo: nothing of the move is left at the target. Raises `unavailable` until that is so. */
export async function clearTarget(context: KindContext, step: StepContext, plan: MovePlan): Promise<void> {
  const { blockStorages, disks, instances } = await facetsAt(context, plan.to.site);
  if (plan.mode === 'live') await removeByKey(context, step, instances, plan.instance.target.key);
  await removeByKey(context, step, { ...disks, find: async (key) => await disks.find(key, plan.to.host) }, plan.transfer.key);
  for (const { target } of plan.volumes) await removeByKey(context, step, blockStorages, target.key);
}

/** Grants the next epoch to the target against the source's surrender, and has the instance started there. */
export async function startTarget(
  context: KindContext,
  step: StepContext,
  input: MoveInput,
  plan: MovePlan,
  prepared: Prepared,
): Promise<{ readonly handle: Handle; readonly epoch: number }> {
  const permit = await write(context, step, async (tx) => {
    await showPhase(tx, input.migration, 'start');
    const current = await currentPermit(tx.client, plan.instance.uid);
    if (current?.holder === plan.to.host && current.surrendered === undefined) return current.permit;
    return await grantPermit(tx.client, {
      instanceUid: plan.instance.uid,
      holder: plan.to.host,
      ...(current?.surrendered === undefined ? {} : { evidence: current.surrendered }),
    });
  });
  const { instances } = await facetsAt(context, plan.to.site);
  const { power, target } = plan.instance;
  const spec = await specificationAt(context, plan, plan.to, { power, volumes: prepared.volumes, permit });
  const handle = await call(step, async () => await instances.create(spec, target.key));
  await write(context, step, async (tx) => await tx.ledger.confirm(target.id, handle));
  // In a live move it is there already, with a permit that awaits what this one carries.
  if (plan.mode === 'live') await call(step, async () => await instances.update(handle, spec));
  return { handle, epoch: permit.epoch };
}

/** Live: gives the target a permit that awaits the release of the source, which hands it over itself. */
export async function promiseTarget(context: KindContext, step: StepContext, plan: MovePlan, prepared: Prepared): Promise<void> {
  const { uid, power } = plan.instance;
  const { from, to } = plan;
  const permit = await write(
    context,
    step,
    async (tx) => await promisePermit(tx.client, { instanceUid: uid, from: from.host, holder: to.host }),
  );
  const { instances } = await facetsAt(context, to.site);
  const { instance } = prepared;
  if (instance === undefined) throw new Problem('internal', 'a live move was prepared without its instance');
  const spec = await specificationAt(context, plan, to, { power, volumes: prepared.volumes, permit });
  await call(step, async () => await instances.update(instance, spec));
}

/** Undo of the promise: the target refuses the epoch, signed. Raises `unavailable` until it has. */
export async function withdrawPromise(context: KindContext, step: StepContext, plan: MovePlan, prepared: Prepared): Promise<void> {
  const current = await context.store.transaction(async (tx) => await currentPermit(tx.client, plan.instance.uid));
  if (current?.nextHolder !== plan.to.host) return;
  await surrenderAtTarget(context, step, plan, prepared, current.epoch + 1);
}

/** Undo: the target gives the instance up, signed, and then everything of it goes. Raises `unavailable` until that is so. */
export async function withdrawTarget(context: KindContext, step: StepContext, plan: MovePlan, prepared: Prepared): Promise<void> {
  const { instances } = await facetsAt(context, plan.to.site);
  const { uid, target } = plan.instance;
  const permit = await context.store.transaction(async (tx) => await currentPermit(tx.client, uid));
  if (permit?.holder === plan.to.host && permit.surrendered === undefined)
    await surrenderAtTarget(context, step, plan, prepared, permit.epoch);
  await withdrawPromise(context, step, plan, prepared);
  await removeByKey(context, step, instances, target.key);
}

/** Has the target give an epoch up, or refuse it. Made once more if it never arrived: only its host can promise that it never ran there. */
async function surrenderAtTarget(
  context: KindContext,
  step: StepContext,
  plan: MovePlan,
  prepared: Prepared,
  epoch: number,
): Promise<void> {
  const { instances } = await facetsAt(context, plan.to.site);
  const { target } = plan.instance;
  const spec = await specificationAt(context, plan, plan.to, { power: 'off', volumes: prepared.volumes, surrenderEpoch: epoch });
  const handle = await call(step, async () => await instances.create(spec, target.key));
  await write(context, step, async (tx) => await tx.ledger.confirm(target.id, handle));
  await call(step, async () => await instances.update(handle, spec));
  const seen = lastStatusOf(await instances.observe(handle));
  const surrender = seen === 'absent' ? undefined : seen?.surrender;
  if (surrender?.epoch !== epoch)
    throw new Problem('unavailable', `host ${plan.to.host} has not given epoch ${epoch} up yet`, { retryAfterSeconds: 1 });
  await write(context, step, async (tx) => await recordSurrender(tx.client, surrender));
}

/** What was seen of a guest at the target. */
export interface Up {
  readonly startedAt?: string;
  /** Live: its process ended at the target after it had arrived, and it booted there from its disks. */
  readonly bootedAnew?: true;
}

/** The site’s word that it starts a guest no more by itself. */
const staysDown: readonly string[] = ['restart-policy', 'restart-limit'];

/**
 * Waits for the guest to show life at the target, or to be there stopped when its owner had it off. One whose process ended there is waited for
 * while its host starts it again: what it wrote there counts. Raises `conflict` when it does not come up.
 */
export async function pollTargetUp(context: KindContext, plan: MovePlan, started: { readonly handle: Handle }): Promise<Poll<Up>> {
  const { instances } = await facetsAt(context, plan.to.site);
  const seen = await instances.observe(started.handle);
  const status = statusOf(seen, `instance ${plan.instance.name} at ${plan.to.host}`);
  if (status === undefined) return { waitSeconds: 1 };
  const { activity, boot, lastEnd, startedAt, trouble } = status;
  if (activity === 'crashed' && (trouble === undefined || staysDown.includes(trouble.code)))
    throw new Problem('conflict', `instance ${plan.instance.name} does not stay up at ${plan.to.host}`);
  // A guest that came with its memory boots nothing, unless it has ended there since.
  const hasMemory = plan.mode === 'live' && lastEnd === undefined;
  // That it switches itself off is its own affair.
  const isOffByItself = activity === 'stopped' && lastEnd?.how === 'guest';
  const isUp =
    plan.instance.power === 'off'
      ? seen.type === 'present' && activity === 'stopped'
      : isOffByItself || (activity === 'running' && (hasMemory || isBooted(boot)));
  if (!isUp) return { waitSeconds: 0.5 };
  const bootedAnew = plan.mode === 'live' && lastEnd !== undefined && lastEnd.how !== 'guest';
  return { done: { ...(startedAt === undefined ? {} : { startedAt }), ...(bootedAnew ? { bootedAnew } : {}) } };
}
