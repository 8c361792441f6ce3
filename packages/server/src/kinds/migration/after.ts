import type { MigrationSpec, MoveActual, Placement } from '@virt8ra/contract';
import type { Poll, StepContext } from '@virt8ra/engine';
import { changeClaimRole, promoteClaim } from '../../capacity/claims.js';
import type { KindContext } from '../context.js';
import { releaseNetworks } from './networks.js';
import type { MoveInput, MovePlan, Prepared, SourceObject } from './plan.js';
import { call, facetsAt, removed, statusOf, write } from './site-facets.js';
import { type Measured, type MigrationStatus, showPhase } from './subjects.js';
import { incomingSpec } from './target.js';
import { endJourneyBack, openWindow } from './way-back/window.js';

/** After the commit point: everything here must work sooner or later. */

/** From here on the target is where the instance is. */
export async function switchPlacement(context: KindContext, step: StepContext, input: MoveInput, plan: MovePlan): Promise<void> {
  await write(context, step, async (tx) => {
    const migration = await tx.lock(input.migration);
    const placementOf = (revision: number): { readonly placement: Placement } => ({
      placement: {
        ...plan.to,
        cause: 'migration',
        reason: `moved from ${plan.from.site === plan.to.site ? plan.from.host : plan.from.site} by migration ${migration?.address.name ?? input.migration}`,
        revision,
      },
    });
    for (const { uid, source, target, revision } of [plan.instance, ...plan.volumes]) {
      await tx.ledger.setRole(target.id, 'primary');
      await tx.ledger.setRole(source.id, 'retained');
      if (plan.keepHours !== undefined) await changeClaimRole(tx.client, uid, 'primary', 'retained');
      await promoteClaim(tx.client, uid);
      if ((await tx.lock(uid)) !== undefined) await tx.setStatus(uid, placementOf(revision));
    }
    await showPhase(tx, input.migration, 'settle');
  });
}

/** Merges at the target what was written since the cut-over into the arrived disks. */
export async function settleVolumes(context: KindContext, step: StepContext, plan: MovePlan, prepared: Prepared): Promise<void> {
  const { blockStorages } = await facetsAt(context, plan.to.site);
  for (const [index, volume] of plan.volumes.entries()) {
    const handle = prepared.volumes[index];
    if (handle === undefined) continue;
    await call(step, async () => await blockStorages.update(handle, incomingSpec(plan, volume, { settle: true })));
    await write(context, step, async (tx) => await tx.ledger.setFacts(volume.target.id, { settle: true }));
  }
}

/** Waits for every disk at the target to be one file again. */
export async function pollSettled(context: KindContext, plan: MovePlan, prepared: Prepared): Promise<Poll<null>> {
  const { blockStorages } = await facetsAt(context, plan.to.site);
  for (const [index, volume] of plan.volumes.entries()) {
    const handle = prepared.volumes[index];
    if (handle === undefined) continue;
    const status = statusOf(await blockStorages.observe(handle), `block storage ${volume.name} at ${plan.to.host}`);
    if (status?.state !== 'ready') return { waitSeconds: 1 };
  }
  return { done: null };
}

/** What goes at the source: all of it, or, where its disks are kept for a way back, all but them. */
function goingAtSource({ instance, volumes, keepHours }: MovePlan): readonly SourceObject[] {
  return keepHours === undefined ? [instance.source, ...volumes.map(({ source }) => source)] : [instance.source];
}

/** Marks everything at the source as going, before the first of it goes. */
export async function beginCleaning(context: KindContext, step: StepContext, input: MoveInput, plan: MovePlan): Promise<void> {
  await write(context, step, async (tx) => {
    await showPhase(tx, input.migration, 'clean');
    for (const { id } of goingAtSource(plan)) await tx.ledger.setRemoving(id);
    if (plan.keepHours !== undefined)
      for (const { source } of plan.volumes) await tx.ledger.setFacts(source.id, { keptBy: input.migration });
  });
}

/** Removes both ends of the transfer, then the instance, then its disks at the source; forgets each list once it is positively gone. */
export async function pollCleaned(context: KindContext, step: StepContext, plan: MovePlan, prepared: Prepared): Promise<Poll<null>> {
  const again = { waitSeconds: 0.5 };
  const source = await facetsAt(context, plan.from.site);
  const target = await facetsAt(context, plan.to.site);
  const transfer = await context.store.ledger.byKey(plan.transfer.key);
  const sender =
    (transfer?.facts['sender'] as Prepared['receiver'] | undefined) ?? (await source.disks.find(plan.transfer.key, plan.from.host));
  const isSenderGone = sender === undefined || (await removed(step, source.disks, sender));
  const isReceiverGone = await removed(step, target.disks, prepared.receiver);
  if (!(isSenderGone && isReceiverGone)) return again;
  const [guest, ...disks] = goingAtSource(plan);
  if (guest !== undefined && !(await removed(step, source.instances, guest.handle))) return again;
  for (const { handle } of disks) if (!(await removed(step, source.blockStorages, handle))) return again;
  await write(context, step, async (tx) => {
    for (const { id } of [plan.transfer, ...goingAtSource(plan)]) await tx.ledger.forget(id);
  });
  await releaseNetworks(context, step, plan, plan.from);
  return { done: null };
}

/** What it took, in the figures of a forecast. */
function actualOf(
  startedAt: string | undefined,
  finishedAt: string,
  { bytes, pauseMs, handoverMs }: Pick<MigrationStatus, 'bytes' | 'pauseMs' | 'handoverMs'>,
): MoveActual {
  const still = pauseMs ?? handoverMs;
  return {
    at: finishedAt,
    ...(startedAt === undefined ? {} : { durationSeconds: Math.max(0, Date.parse(finishedAt) - Date.parse(startedAt)) / 1000 }),
    ...(still === undefined ? {} : { pauseMs: still }),
    ...(bytes === undefined ? {} : { bytes }),
  };
}

/** Says how it went. */
export async function finish(context: KindContext, step: StepContext, input: MoveInput, plan: MovePlan, measured: Measured): Promise<void> {
  if (plan.way === 'back') return await endJourneyBack(context, step, input, measured);
  if (plan.keepHours !== undefined) return await openWindow(context, step, input, { ...plan, keepHours: plan.keepHours }, measured);
  await write(context, step, async (tx) => {
    const moved = await tx.lock<MigrationSpec, MigrationStatus>(input.migration);
    await tx.setProgress(input.migration, undefined);
    const finishedAt = context.now().toISOString();
    await tx.setStatus(
      input.migration,
      { phase: 'done', finishedAt, ...measured, actual: actualOf(moved?.status.startedAt, finishedAt, measured) },
      {
        state: 'active',
        type: 'Moved',
        reason: 'Done',
        message:
          measured.bootedAnew === undefined
            ? 'the target is proven and the source is clean'
            : 'the target is proven and the source is clean; the guest’s process ended at the target, and it booted there from its disks',
      },
    );
  });
}
