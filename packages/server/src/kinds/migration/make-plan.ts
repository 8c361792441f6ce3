import { type Id, type InstanceSpec, type MigrationSpec, type Placement, Problem } from '@virt8ra/contract';
import type { HostObservation } from '@virt8ra/driver';
import type { StepContext } from '@virt8ra/engine';
import { claimOnHost, releaseClaim } from '../../capacity/claims.js';
import { explainRefusals, rankCandidates, type Verdict } from '../../placement/placement.js';
import type { Realization } from '../../resources/ledger-types.js';
import type { StoreTransaction } from '../../resources/store.js';
import { blockStorageBytes, originOfVolume } from '../block-storage/index.js';
import type { KindContext } from '../context.js';
import {
  assertApart,
  assertNotInRescue,
  assertOpenHost,
  currentPermit,
  hostCandidates,
  type InstanceParts,
  type InstanceStatus,
  instancePower,
  networkingNeeds,
  partsOfInstance,
  readApart,
  requirementOf,
  roomOf,
} from '../instance/index.js';
import { type LiveQuestion, liveFault } from './live-fault.js';
import { hostsAt, startedAs } from './live-outlook.js';
import { releaseNetworks } from './networks.js';
import { type MoveInput, type MovePlan, type Place, plannedMove } from './plan.js';
import { assertNoGuestChanges } from './prepare-guest.js';
import { facetsAt, type SiteFacets, statusOf, write } from './site-facets.js';
import { showPhase, subjectsOf } from './subjects.js';

/** What was found at the source before anything was decided. */
interface Survey {
  readonly parts: InstanceParts;
  /** What the guest began as. */
  readonly status: LiveQuestion['status'];
  readonly instance: Found;
  readonly machine?: string;
  readonly cpuModel?: string;
  readonly volumes: readonly (Found & { readonly sizeBytes: number; readonly origin: MovePlan['volumes'][number]['origin'] })[];
}

interface Found {
  readonly id: Id<'realization'>;
  readonly handle: NonNullable<Realization['handle']>;
}

/**
 * Decides where it goes: checks both ends, ranks the target's hosts, and in one transaction claims the room there and writes all intents.
 * Raises `conflict` when nothing fits or something stands in the way, `unsupported` when a site cannot do it.
 */
export async function makePlan(context: KindContext, step: StepContext, input: MoveInput): Promise<MovePlan> {
  const known = await plannedMove(context.store, input.migration);
  if (known !== undefined) return known;
  const { migration, instance } = await subjectsOf(context.store, input);
  const { placement } = instance.status;
  if (placement?.host === undefined) throw new Problem('conflict', `instance ${instance.address.name} is not placed yet`);
  const from: Place = { site: placement.site, host: placement.host };
  const spec = { ...migration.spec, mode: input.mode ?? migration.spec.mode };
  const { toSite, toHost } = spec;
  const source = await facetsAt(context, from.site);
  const target = await facetsAt(context, toSite);
  const survey = await surveySource(context, source, input, spec.mode);
  const candidates = (await hostCandidates(context, [toSite])).filter(({ host }) => host !== from.host && (toHost ?? host) === host);
  if (candidates.length === 0 && toHost !== undefined) throw new Problem('conflict', `site ${toSite} has no host ${toHost} to move it to`);
  const networking = await networkingNeeds(context.store, instance, survey.parts.nicUids, toSite);
  const apart = await readApart(context.store, instance);
  const verdicts = rankCandidates(candidates, requirementOf(survey.parts, toSite, undefined, { networking, apart }));
  const fitting = verdicts.filter(({ fits }) => fits);
  const { mode, host, fallbackReason } = await chooseMode(context, spec, { from, survey, source, target, fitting });
  const best = verdicts.find((verdict) => verdict.host === host);
  if (best?.fits !== true) throw new Problem('conflict', `nothing at ${toSite} can take it: ${explainRefusals(verdicts)}`);
  const to: Place = { site: toSite, host: best.host };
  if (spec.guestChanges === 'none' && mode !== 'live')
    await assertNoGuestChanges(context, from, { uid: input.instance, handle: survey.instance.handle });
  const capacity = candidates.find(({ host }) => host === to.host)?.capacity;
  if (capacity === undefined) throw new Problem('unavailable', `host ${to.host} was there a moment ago; looking again`);

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
      minPasses: spec.minPasses ?? 2,
      ...(spec.guestChanges === undefined || mode === 'live' ? {} : { guestChanges: spec.guestChanges }),
      placement,
    });
    const shown = { phase: 'plan', from, to, mode, startedAt: context.now().toISOString() } as const;
    await tx.setStatus(input.migration, fallbackReason === undefined ? shown : { ...shown, fallbackReason });
    return plan;
  });
}

/**
 * How it is done, and on which host: a live move goes to the best host that can take the guest's memory. Where there is none it is refused
 * (Problem unsupported), or becomes a warm move if the caller consented to that.
 */
async function chooseMode(
  context: KindContext,
  { mode, toSite, fallback }: MigrationSpec,
  found: {
    readonly from: Place;
    readonly survey: Survey;
    readonly source: SiteFacets;
    readonly target: SiteFacets;
    readonly fitting: readonly Verdict[];
  },
): Promise<{ readonly mode: MovePlan['mode']; readonly host: string | undefined; readonly fallbackReason?: string }> {
  const { from, survey, source, target, fitting } = found;
  const lacking = (wanted: MovePlan['mode']): string | undefined =>
    !source.capabilities.migrationModes.includes(wanted)
      ? from.site
      : !target.capabilities.migrationModes.includes(wanted)
        ? toSite
        : undefined;
  const best = fitting[0]?.host;
  let reason: string | undefined;
  if (mode === 'live') {
    const site = lacking('live');
    reason = site === undefined ? undefined : `site ${site} cannot take part in a live move`;
    if (reason === undefined) {
      const hosts = await hostsAt(context, [from.site, toSite]);
      const at = (name: string): HostObservation | undefined => hosts.find(({ host }) => host === name);
      const faults = fitting.map(({ host }) => liveFault({ ...survey, source: at(from.host), target: at(host) }));
      const able = faults.indexOf(undefined);
      if (able >= 0 || best === undefined) return { mode, host: fitting[able]?.host };
      reason = faults[0];
    }
    if (fallback === undefined)
      throw new Problem('unsupported', `it cannot be moved live, because ${reason}; move it warm, or consent with fallback warm`);
  }
  const chosen = mode === 'live' ? 'warm' : mode;
  const site = lacking(chosen);
  if (site !== undefined) throw new Problem('unsupported', `site ${site} cannot take part in a ${chosen} move`);
  return { mode: chosen, host: best, ...(reason === undefined ? {} : { fallbackReason: reason }) };
}

async function surveySource(context: KindContext, source: SiteFacets, input: MoveInput, mode: MovePlan['mode']): Promise<Survey> {
  const { instance } = await subjectsOf(context.store, input);
  const { name } = instance.address;
  const parts = await partsOfInstance(context.store, instance);
  const found = await primaryOf(context, input.instance, 'instances', `instance ${name}`);
  const status = statusOf(await source.instances.observe(found.handle), `instance ${name}`);
  if (status === undefined) throw new Problem('unavailable', `the site does not tell how instance ${name} is`);
  if (mode !== 'cold' && status.activity !== 'running')
    throw new Problem('conflict', `instance ${name} is ${status.activity}; a ${mode} move needs it running, use mode cold`);
  const volumes: Survey['volumes'][number][] = [];
  for (const volume of parts.volumes) {
    const what = `block storage ${volume.address.name}`;
    const disk = await primaryOf(context, volume.uid, 'blockStorages', what);
    const seen = statusOf(await source.blockStorages.observe(disk.handle), what);
    if (seen === undefined || seen.state === 'settling' || seen.state === 'arrived')
      throw new Problem('unavailable', `${what} is not ready yet`);
    if (seen.state !== 'ready') throw new Problem('conflict', `${what} is ${seen.state}; only a ready one can be moved`);
    volumes.push({ id: disk.id, handle: disk.handle, sizeBytes: seen.sizeBytes, origin: await originOfVolume(context, volume, disk) });
  }
  const began = startedAs(found, status);
  const { machine, cpuModel } = began;
  return {
    parts,
    status: began,
    instance: { id: found.id, handle: found.handle },
    volumes,
    ...(machine === undefined ? {} : { machine }),
    ...(cpuModel === undefined ? {} : { cpuModel }),
  };
}

async function primaryOf(
  context: KindContext,
  uid: Id<'resource'>,
  facet: Realization['facet'],
  what: string,
): Promise<Realization & { readonly handle: NonNullable<Realization['handle']> }> {
  const primary = (await context.store.ledger.ofResource(uid)).find((each) => each.facet === facet && each.role === 'primary');
  if (primary?.handle === undefined) throw new Problem('conflict', `${what} was not made at its site yet; move it once it is active`);
  return { ...primary, handle: primary.handle };
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

async function intendMove(
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
    readonly placement: Placement;
  },
): Promise<MovePlan> {
  const { input, name, survey, from, to, mode, minPasses, guestChanges, placement } = decided;
  const permit = await currentPermit(tx.client, input.instance);
  if (permit === undefined || permit.holder !== from.host || permit.surrendered !== undefined)
    throw new Problem('conflict', `host ${from.host} holds no run permit of instance ${name}`);
  const { power, restarts } = await instancePower(tx.client, input.instance);
  const { machine, cpuModel } = survey;
  const role = 'incoming' as const;
  const transfer = await tx.ledger.intend({ resourceUid: input.migration, role, facet: 'disks', ...to });
  const volumes: MovePlan['volumes'][number][] = [];
  for (const [index, found] of survey.volumes.entries()) {
    const volume = survey.parts.volumes[index];
    if (volume === undefined) throw new Problem('internal', 'a disk without its block storage');
    const facts = { origin: { type: 'incoming', transferId: transfer.key }, settle: false };
    const made = await tx.ledger.intend({ resourceUid: volume.uid, role, facet: 'blockStorages', ...to, facts });
    volumes.push({
      uid: volume.uid,
      name: volume.address.name,
      sizeBytes: found.sizeBytes,
      origin: found.origin,
      source: { id: found.id, handle: found.handle },
      target: { id: made.id, key: made.key },
      revision: ((volume.status as { placement?: Placement }).placement?.revision ?? 0) + 1,
    });
  }
  const facts = { ...(machine === undefined ? {} : { machine }), ...(cpuModel === undefined ? {} : { cpuModel }) };
  const target = await tx.ledger.intend({ resourceUid: input.instance, role, facet: 'instances', ...to, facts });
  const plan: MovePlan = {
    mode,
    minPasses,
    ...(guestChanges === undefined ? {} : { guestChanges }),
    from,
    to,
    instance: {
      uid: input.instance,
      name,
      source: survey.instance,
      target: { id: target.id, key: target.key },
      revision: placement.revision + 1,
      power,
      restarts,
      ...facts,
    },
    volumes,
    transfer: { id: transfer.id, key: transfer.key },
    epoch: permit.epoch,
  };
  await tx.ledger.setFacts(transfer.id, { plan });
  return plan;
}

/** Undo: gives the room at the target back and forgets the intents; the undos before have seen that nothing of them is there. */
export async function dropPlan(context: KindContext, step: StepContext, input: MoveInput): Promise<void> {
  const plan = await plannedMove(context.store, input.migration);
  if (plan !== undefined) {
    await write(context, step, async (tx) => {
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
