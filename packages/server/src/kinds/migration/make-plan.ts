import { defaultProbeSeconds, type Id, type InstanceSpec, type MigrationSpec, type Placement, Problem } from '@virt8ra/contract';
import type { StepContext } from '@virt8ra/engine';
import { changeClaimRole, claimOnHost, releaseClaim } from '../../capacity/claims.js';
import { explainRefusals, type Verdict } from '../../placement/placement.js';
import type { StoreTransaction } from '../../resources/store.js';
import { blockStorageBytes } from '../block-storage/index.js';
import type { KindContext } from '../context.js';
import {
  assertApart,
  assertNotInRescue,
  assertOpenHost,
  currentPermit,
  type InstanceParts,
  type InstanceStatus,
  instancePower,
  roomOf,
} from '../instance/index.js';
import { chooseMode } from './choose-rung.js';
import { hostsAt } from './live-outlook.js';
import { releaseNetworks } from './networks.js';
import { outlookOn } from './outlook.js';
import { type MoveInput, type MovePlan, type Place, plannedMove, type SourceObject, usualPasses } from './plan.js';
import { assertNoGuestChanges } from './prepare-guest.js';
import { write } from './site-facets.js';
import { showPhase, subjectsOf } from './subjects.js';
import { type Survey, surveyMove } from './survey.js';

/**
 * Decides where it goes: checks both ends, ranks the target's hosts, and in one transaction claims the room there and writes all intents.
 * Raises `conflict` when nothing fits or something stands in the way, `unsupported` when a site cannot do it.
 */
export async function makePlan(context: KindContext, step: StepContext, input: MoveInput): Promise<MovePlan> {
  const known = await plannedMove(context.store, input.migration);
  if (known !== undefined) return known;
  const { migration, instance } = await subjectsOf(context.store, input);
  const { placement } = instance.status;
  const spec = { ...migration.spec, mode: input.mode ?? migration.spec.mode };
  const surveyed = await surveyMove(context, instance, spec);
  if (placement === undefined) throw new Problem('conflict', `instance ${instance.address.name} is not placed yet`);
  const { from, survey, candidates, verdicts } = surveyed;
  const { mode, host, fallbackReason } = await chooseMode(context, spec, surveyed);
  if (spec.cutover?.when === 'pause-below') await assertPauseForeseen(context, from);
  if (spec.bootProbe?.in === 'isolation' && host !== undefined) await assertProbes(context, [from, { site: spec.toSite, host }]);
  const best = verdicts.find((verdict) => verdict.host === host);
  if (best?.fits !== true) throw new Problem('conflict', `nothing at ${spec.toSite} can take it: ${explainRefusals(verdicts)}`);
  const to: Place = { site: spec.toSite, host: best.host };
  if (spec.guestChanges === 'none' && mode !== 'live')
    await assertNoGuestChanges(context, from, { uid: input.instance, handle: survey.instance.handle });
  const capacity = candidates.find(({ host }) => host === to.host)?.capacity;
  if (capacity === undefined) throw new Problem('unavailable', `host ${to.host} was there a moment ago; looking again`);
  const minPasses = spec.minPasses ?? usualPasses;
  const outlook = await outlookOn(context, { instance, minPasses, surveyed, mode, to });

  return await write(context, step, async (tx) => {
    await tx.lock(input.migration);
    const made = await plannedMove(tx, input.migration);
    if (made !== undefined) return made;
    const moved = await tx.lock<InstanceSpec, InstanceStatus>(input.instance);
    if (moved === undefined || moved.deletedAt !== undefined) throw new Problem('conflict', 'the instance is being deleted');
    assertNotInRescue(moved);
    await assertApart(tx, moved, to.host);
    await assertOpenHost(tx, to.host);
    await claimOnHost(tx.client, to.host, capacity, incomingClaims(input.instance, survey.parts, { ...to, devices: best.devices ?? [] }));
    const plan = await intendMove(tx, {
      input,
      name: moved.address.name,
      survey,
      from,
      to,
      mode,
      minPasses,
      ...(spec.guestChanges === undefined || mode === 'live' ? {} : { guestChanges: spec.guestChanges }),
      awaitsCutover: spec.cutover !== undefined,
      bootProbe: spec.bootProbe,
      placement,
      ...(spec.wayBack === undefined ? {} : { keepHours: spec.wayBack.hours }),
    });
    const shown = { phase: 'plan', from, to, mode, startedAt: context.now().toISOString(), ...outlook } as const;
    await tx.setStatus(input.migration, fallbackReason === undefined ? shown : { ...shown, fallbackReason });
    return plan;
  });
}

/** Raises `unsupported` where the source cannot hold still, or the target cannot boot a copy in isolation. */
async function assertProbes(context: KindContext, places: readonly Place[]): Promise<void> {
  const hosts = await hostsAt(
    context,
    places.map(({ site }) => site),
  );
  for (const { host } of places) {
    if (hosts.find((each) => each.host === host)?.features?.includes('boot-probe') !== true)
      throw new Problem(
        'unsupported',
        `the agent of host ${host} is of an older release and takes no part in a boot in isolation; bring it up to date, or probe in place`,
      );
  }
}

/** Raises `unsupported` where the source's host does not tell how long a pause would be. */
async function assertPauseForeseen(context: KindContext, { site, host }: Place): Promise<void> {
  const found = (await hostsAt(context, [site])).find((each) => each.host === host);
  if (found?.features?.includes('pass-figures') === true) return;
  throw new Problem(
    'unsupported',
    `the agent of host ${host} is of an older release and does not tell how long the pause would be; bring it up to date, or have it cut over when asked or within a window`,
  );
}

function incomingClaims(
  instance: Id<'resource'>,
  parts: InstanceParts,
  { site, host, devices }: Place & Required<Pick<Verdict, 'devices'>>,
): Parameters<typeof claimOnHost>[3] {
  const at = { role: 'incoming', site, host } as const;
  return [
    { ...at, resourceUid: instance, ...roomOf(parts.size), storageBytes: 0, devices },
    ...parts.volumes.map(({ uid, spec }) => ({
      ...at,
      resourceUid: uid,
      vCPU: 0,
      memoryMiB: 0,
      storageBytes: blockStorageBytes(spec.sizeGB),
    })),
  ];
}

/** Writes the intents of a move, and the plan that they make. Raises `conflict` when the source holds no run permit. */
export async function intendMove(
  tx: StoreTransaction,
  decided: {
    readonly input: MoveInput;
    readonly name: string;
    readonly survey: Survey;
    readonly from: Place;
    readonly to: Place;
    readonly mode: MovePlan['mode'];
    readonly minPasses: number;
    readonly guestChanges?: NonNullable<MovePlan['guestChanges']>;
    readonly awaitsCutover?: boolean;
    readonly bootProbe?: MigrationSpec['bootProbe'];
    readonly placement: Placement;
    readonly keepHours?: number;
    /** What the disks begin as, by their block storages. */
    readonly seeds?: ReadonlyMap<Id<'resource'>, SourceObject['handle']>;
  },
): Promise<MovePlan> {
  const { input, name, survey, from, to, mode, minPasses, guestChanges, awaitsCutover, bootProbe, placement, keepHours, seeds } = decided;
  const permit = await currentPermit(tx.client, input.instance);
  if (permit === undefined || permit.holder !== from.host || permit.surrendered !== undefined)
    throw new Problem('conflict', `host ${from.host} holds no run permit of instance ${name}`);
  const { power, restarts } = await instancePower(tx.client, input.instance);
  if (power === 'off' && bootProbe?.in === 'place')
    throw new Problem('conflict', `instance ${name} is off, and stays so at the target; it can only be probed in isolation`);
  const { machine, cpuModel } = survey;
  const role = 'incoming' as const;
  const transfer = await tx.ledger.intend({ resourceUid: input.migration, role, facet: 'disks', ...to });
  const volumes: MovePlan['volumes'][number][] = [];
  for (const [index, found] of survey.volumes.entries()) {
    const volume = survey.parts.volumes[index];
    if (volume === undefined) throw new Problem('internal', 'a disk without its block storage');
    const facts = { origin: { type: 'incoming', transferId: transfer.key }, settle: false };
    const made = await tx.ledger.intend({ resourceUid: volume.uid, role, facet: 'blockStorages', ...to, facts });
    const seed = seeds?.get(volume.uid);
    volumes.push({
      uid: volume.uid,
      name: volume.address.name,
      sizeBytes: found.sizeBytes,
      origin: found.origin,
      source: { id: found.id, handle: found.handle },
      target: { id: made.id, key: made.key },
      revision: ((volume.status as { placement?: Placement }).placement?.revision ?? 0) + 1,
      ...(seed === undefined ? {} : { seed: { volume: seed } }),
    });
  }
  const facts = { ...(machine === undefined ? {} : { machine }), ...(cpuModel === undefined ? {} : { cpuModel }) };
  const target = await tx.ledger.intend({ resourceUid: input.instance, role, facet: 'instances', ...to, facts });
  const plan: MovePlan = {
    mode,
    minPasses,
    ...(guestChanges === undefined ? {} : { guestChanges }),
    ...(awaitsCutover === true ? { awaitsCutover } : {}),
    ...(bootProbe === undefined
      ? {}
      : { bootProbe: { in: bootProbe.in, timeoutSeconds: bootProbe.timeoutSeconds ?? defaultProbeSeconds, expects: survey.evidence } }),
    from,
    to,
    instance: {
      uid: input.instance,
      name,
      source: { id: survey.instance.id, handle: survey.instance.handle },
      target: { id: target.id, key: target.key },
      revision: placement.revision + 1,
      power,
      restarts,
      ...facts,
    },
    volumes,
    transfer: { id: transfer.id, key: transfer.key },
    epoch: permit.epoch,
    ...(keepHours === undefined ? {} : { keepHours }),
    ...(input.way === undefined ? {} : { way: input.way }),
  };
  await tx.ledger.setFacts(transfer.id, { plan });
  return plan;
}

/** Undo: gives the room at the target back and forgets the intents; the undos before have seen that nothing of them is there. */
export async function dropPlan(context: KindContext, step: StepContext, input: MoveInput): Promise<void> {
  const plan = await plannedMove(context.store, input.migration);
  if (plan !== undefined) {
    await write(context, step, async (tx) => {
      if (plan.way === 'back') await changeClaimRole(tx.client, plan.instance.uid, 'incoming', 'retained');
      for (const uid of [plan.instance.uid, ...plan.volumes.map((volume) => volume.uid)]) await releaseClaim(tx.client, uid, 'incoming');
      for (const { target } of [plan.instance, ...plan.volumes]) await tx.ledger.forget(target.id);
    });
    // Networks stay where the ledger still has an instance; the plan itself goes last, so that a repetition still knows it.
    await releaseNetworks(context, step, plan, plan.to);
    await write(context, step, async (tx) => await tx.ledger.forget(plan.transfer.id));
  }
  await write(context, step, async (tx) => {
    if ((await tx.lock(input.migration)) === undefined) return;
    await tx.setProgress(input.migration, undefined);
    await showPhase(tx, input.migration, 'returning');
    await tx.nudge('migration', input.migration);
  });
}
