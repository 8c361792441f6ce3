import { type InstanceSpec, Problem } from '@virt8ra/contract';
import type { StepContext } from '@virt8ra/engine';
import { claimOfRole, claimOnHost, releaseClaim } from '../../../capacity/claims.js';
import type { StoreTransaction } from '../../../resources/store.js';
import { blockStorageBytes } from '../../block-storage/index.js';
import type { KindContext } from '../../context.js';
import { assertApart, assertNotInRescue, currentPermit, hostCandidates, type InstanceStatus, instancePower } from '../../instance/index.js';
import { liveFault } from '../live-fault.js';
import { hostsAt } from '../live-outlook.js';
import { dropPlan, intendMove } from '../make-plan.js';
import { type MoveInput, type MovePlan, plannedMove } from '../plan.js';
import { facetsAt, write } from '../site-facets.js';
import { subjectsOf } from '../subjects.js';
import { type Survey, surveySource } from '../survey.js';
import { clearTarget } from '../target.js';
import { removeSender } from '../transfer.js';
import { retainedDisks } from './retained.js';

/**
 * Plans the way back to where the disks are retained, which the new disks there begin as: room for these is claimed beside them, that of the instance
 * is held already. What flows back already is gone on with. Raises `exhausted` when the host has no room for the new disks, `conflict` when
 * something stands in the way.
 */
export async function makePlanBack(context: KindContext, step: StepContext, input: MoveInput): Promise<MovePlan> {
  const { migration, instance } = await subjectsOf(context.store, input);
  const { name } = instance.address;
  const { placement } = instance.status;
  const to = migration.status.wayBack?.at;
  if (to === undefined) throw new Problem('conflict', `migration ${migration.address.name} keeps no way back`);
  if (placement?.host === undefined) throw new Problem('conflict', `instance ${name} is not placed`);
  const from = { site: placement.site, host: placement.host };
  const known = await plannedMove(context.store, input.migration);
  const mode = input.mode ?? 'warm';
  if (known !== undefined && known.mode !== mode)
    throw new Problem('conflict', `what flows back already is for a ${known.mode} return, not for a ${mode} one`);
  const source = await facetsAt(context, from.site);
  const target = await facetsAt(context, to.site);
  const survey = await surveySource(context, source, instance, mode);
  if (known !== undefined) return await goOnWith(context, step, input, known, survey);

  const lacking = [source, target].find(({ capabilities }) => !capabilities.migrationModes.includes(mode));
  if (lacking !== undefined) throw new Problem('unsupported', `a ${mode} move is not possible between ${from.site} and ${to.site}`);
  if (mode === 'live') {
    const hosts = await hostsAt(context, [from.site, to.site]);
    const at = (host: string) => hosts.find((each) => each.host === host);
    const fault = liveFault({ ...survey, source: at(from.host), target: at(to.host) });
    if (fault !== undefined) throw new Problem('unsupported', `it cannot go back live, because ${fault}; let it go back warm`);
  }
  const capacity = (await hostCandidates(context, [to.site])).find(({ host }) => host === to.host)?.capacity;
  if (capacity === undefined) throw new Problem('unavailable', `host ${to.host}, where its disks are retained, is not connected`);
  const retained = await retainedDisks(context.store, input);
  const seeds = new Map(retained.map(({ uid, handle }) => [uid, handle]));
  for (const { uid, address } of survey.parts.volumes)
    if (!seeds.has(uid)) throw new Problem('conflict', `block storage ${address.name} has no retained disk at ${to.host}`);

  return await write(context, step, async (tx) => {
    await tx.lock(input.migration);
    const made = await plannedMove(tx, input.migration);
    if (made !== undefined) return made;
    const moved = await tx.lock<InstanceSpec, InstanceStatus>(input.instance);
    if (moved === undefined || moved.deletedAt !== undefined) throw new Problem('conflict', 'the instance is being deleted');
    assertNotInRescue(moved);
    await assertApart(tx, moved, to.host);
    await claimReturn(tx, input, capacity, survey);
    return await intendMove(tx, { input, name, survey, from, to, mode, minPasses: 0, placement, seeds });
  });
}

/**
 * Undo: takes away all that flows back, whoever has begun it, and then the plan. Later steps may not have been reached by the run that goes on with what
 * another has made.
 */
export async function dropPlanBack(context: KindContext, step: StepContext, input: MoveInput): Promise<void> {
  const plan = await plannedMove(context.store, input.migration);
  if (plan !== undefined) {
    await removeSender(context, step, plan);
    await clearTarget(context, step, plan);
  }
  await dropPlan(context, step, input);
}

/** The instance’s own room is changed from retained to incoming, and that of its new disks comes to it. */
async function claimReturn(
  tx: StoreTransaction,
  input: MoveInput,
  capacity: Parameters<typeof claimOnHost>[2],
  survey: Survey,
): Promise<void> {
  const held = await claimOfRole(tx.client, input.instance, 'retained');
  if (held === undefined) throw new Problem('internal', 'a way back without the room that is held for it');
  await releaseClaim(tx.client, input.instance, 'retained');
  const { site, host } = held;
  const disks = survey.parts.volumes.map(({ uid, spec }) => {
    const storageBytes = blockStorageBytes(spec.sizeGB);
    return { resourceUid: uid, role: 'incoming' as const, site, host, vCPU: 0, memoryMiB: 0, storageBytes };
  });
  await claimOnHost(tx.client, host, capacity, [{ ...held, role: 'incoming' }, ...disks]);
}

/** What may have changed since the flow began is taken as it is now. Raises `conflict` when the disks or the permit are not those it began with. */
async function goOnWith(
  context: KindContext,
  step: StepContext,
  input: MoveInput,
  known: MovePlan,
  { volumes, machine, cpuModel }: Survey,
): Promise<MovePlan> {
  const same =
    volumes.length === known.volumes.length && volumes.every(({ sizeBytes }, index) => sizeBytes === known.volumes[index]?.sizeBytes);
  if (!same) throw new Problem('conflict', 'the disks of the instance are not those that flow back');
  return await write(context, step, async (tx) => {
    const permit = await currentPermit(tx.client, input.instance);
    if (permit?.holder !== known.from.host || permit.surrendered !== undefined || permit.epoch !== known.epoch)
      throw new Problem('conflict', `host ${known.from.host} does not hold the run permit any more that it had when the flow began`);
    const { power, restarts } = await instancePower(tx.client, input.instance);
    const began = { ...(machine === undefined ? {} : { machine }), ...(cpuModel === undefined ? {} : { cpuModel }) };
    const plan: MovePlan = { ...known, instance: { ...known.instance, power, restarts, ...began } };
    await tx.ledger.setFacts(known.transfer.id, { plan });
    await tx.ledger.setFacts(known.instance.target.id, began);
    return plan;
  });
}
