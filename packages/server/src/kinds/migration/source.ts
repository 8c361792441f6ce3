import { Problem } from '@virt8ra/contract';
import type { BlockStorageRealizationSpec } from '@virt8ra/driver';
import type { Poll, StepContext } from '@virt8ra/engine';
import type { KindContext } from '../context.js';
import { currentPermit, grantPermit, type RealizationOverrides, recordSurrender } from '../instance/index.js';
import type { MoveInput, MovePlan, PlannedVolume, Prepared } from './plan.js';
import { call, facetsAt, lastStatusOf, statusOf, write } from './site-facets.js';
import { showPhase, specificationAt } from './subjects.js';
import { withdrawPromise } from './target.js';
import { settleSender } from './transfer.js';

/** What the source's disk is asked to be: as it was, plus a digest. */
export function outgoingSpec(plan: MovePlan, volume: PlannedVolume, digestRequest?: string): BlockStorageRealizationSpec {
  return {
    sizeBytes: volume.sizeBytes,
    host: plan.from.host,
    source: volume.origin,
    // A disk that arrived by an earlier move stays settled.
    settle: volume.origin.type === 'incoming',
    ...(digestRequest === undefined ? {} : { digestRequest }),
  };
}

async function updateSource(
  context: KindContext,
  step: StepContext,
  plan: MovePlan,
  overrides: Pick<RealizationOverrides, 'power' | 'permit' | 'surrenderEpoch'>,
): Promise<void> {
  const { instances } = await facetsAt(context, plan.from.site);
  const spec = await specificationAt(context, plan, plan.from, { ...overrides, volumes: plan.volumes.map(({ source }) => source.handle) });
  await call(step, async () => await instances.update(plan.instance.source.handle, spec));
}

/** The permit the source holds now; undefined when it holds none. */
async function permitOfSource(context: KindContext, plan: MovePlan): Promise<Pick<RealizationOverrides, 'permit'>> {
  const current = await context.store.transaction(async (tx) => await currentPermit(tx.client, plan.instance.uid));
  return current?.holder === plan.from.host && current.surrendered === undefined ? { permit: current.permit } : {};
}

/** Switches the guest off at the source; its permit stays with it. */
export async function stopSource(context: KindContext, step: StepContext, plan: MovePlan): Promise<void> {
  await updateSource(context, step, plan, { power: 'off', ...(await permitOfSource(context, plan)) });
}

/** Undo: power at the source as it was before. */
export async function restoreSource(context: KindContext, step: StepContext, plan: MovePlan): Promise<void> {
  await updateSource(context, step, plan, { power: plan.instance.power, ...(await permitOfSource(context, plan)) });
}

/** Waits for the guest to be off; asks again, since a look of the owner's intent may have come in between. Answers since when. */
export async function pollSourceStopped(
  context: KindContext,
  step: StepContext,
  plan: MovePlan,
): Promise<Poll<{ readonly stoppedAt?: string }>> {
  const { instances } = await facetsAt(context, plan.from.site);
  const status = statusOf(await instances.observe(plan.instance.source.handle), `instance ${plan.instance.name}`);
  if (status?.activity === 'stopped') return { done: status.since === undefined ? {} : { stoppedAt: status.since } };
  if (status?.activity === 'running') await stopSource(context, step, plan);
  return { waitSeconds: 0.5 };
}

/**
 * Undo of the cut-over: the source runs the instance again. Where it had not let go it simply goes on; where it had, it is granted the
 * next epoch against the newest surrender, its own or the target's. Raises `unavailable` until it is clear which of the two it is.
 */
export async function returnToSource(
  context: KindContext,
  step: StepContext,
  input: MoveInput,
  plan: MovePlan,
  prepared: Prepared,
): Promise<void> {
  await write(context, step, async (tx) => await showPhase(tx, input.migration, 'returning'));
  const ordered = await settleSender(context, step, plan);
  await withdrawPromise(context, step, plan, prepared);
  const { uid, power } = plan.instance;
  const permit = await context.store.transaction(async (tx) => await currentPermit(tx.client, uid));
  if (permit === undefined) throw new Problem('internal', `instance ${plan.instance.name} has lost its run permit`);
  if (permit.holder === plan.from.host && permit.epoch === plan.epoch && permit.surrendered === undefined) {
    if (ordered === undefined) return;
    const { disks } = await facetsAt(context, plan.from.site);
    const sender = lastStatusOf(await disks.observe(ordered));
    const letGo = sender !== 'absent' && sender?.state === 'finished';
    if (await goesOn(context, step, plan, letGo)) return;
  }
  const granted = await write(context, step, async (tx) => {
    const current = await currentPermit(tx.client, uid);
    if (current?.holder === plan.from.host && current.surrendered === undefined) return current.permit;
    return await grantPermit(tx.client, {
      instanceUid: uid,
      holder: plan.from.host,
      ...(current?.surrendered === undefined ? {} : { evidence: current.surrendered }),
    });
  });
  await updateSource(context, step, plan, { power, permit: granted });
}

/**
 * Whether the source still holds its epoch. If not, its surrender is recorded. `letGo`: its end of the copy has finished, so that it gave
 * the epoch up, whatever an older look at the guest says. Raises `unavailable` while neither can be seen.
 */
async function goesOn(context: KindContext, step: StepContext, plan: MovePlan, letGo: boolean): Promise<boolean> {
  const { instances } = await facetsAt(context, plan.from.site);
  const isOff = (activity: string | undefined): boolean => activity === 'stopped' || activity === 'crashed';
  let seen = lastStatusOf(await instances.observe(plan.instance.source.handle));
  if (plan.mode === 'cold' || (seen !== 'absent' && isOff(seen?.activity))) {
    // A guest that is off anyway gives its epoch up at no price, and then there is no doubt.
    await updateSource(context, step, plan, { power: 'off', surrenderEpoch: plan.epoch });
    seen = lastStatusOf(await instances.observe(plan.instance.source.handle));
  }
  if (seen === 'absent') throw new Problem('unavailable', `instance ${plan.instance.name} is not to be seen at ${plan.from.host}`);
  const surrender = seen?.surrender;
  if (surrender?.epoch === plan.epoch) {
    await write(context, step, async (tx) => await recordSurrender(tx.client, surrender));
    return false;
  }
  if (!letGo && plan.mode !== 'cold' && seen?.activity === 'running') return true;
  throw new Problem('unavailable', `host ${plan.from.host} does not say yet whether it runs instance ${plan.instance.name}`, {
    retryAfterSeconds: 1,
  });
}
