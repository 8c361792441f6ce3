import { type BlockStorageSpec, type Id, type InstanceSpec, Problem, securityGroup, toProblem } from '@virt8ra/contract';
import type { Handle, InstanceRealizationStatus, Observation } from '@virt8ra/driver';
import type { Outcome } from '@virt8ra/engine';
import type { Realization } from '../../resources/ledger-types.js';
import type { StoredResource } from '../../resources/stored-resource.js';
import { blockStorageBytes, realizeBlockStorage } from '../block-storage/index.js';
import type { KindContext } from '../context.js';
import { publicIpRefusal, showServed } from '../host-networking.js';
import { type NicOfInstance, nicsForInstance } from '../nic/index.js';
import { claimStorage } from '../storage-claim.js';
import { blocked, conditionFrom, isSettled } from './condition.js';
import { attachedVolumes, diskTrouble } from './data-volumes.js';
import { deleteInstance } from './delete.js';
import type { InstanceContext } from './instance-context.js';
import { instancesFacet } from './instances-facet.js';
import { instanceGroup } from './networking.js';
import { partsOfInstance } from './parts.js';
import { currentPermit } from './permits.js';
import { placeInstance } from './place.js';
import { instancePower } from './power.js';
import { bootsFromRescue, rescueDisk, settleRescue } from './rescue.js';
import { settleSize } from './resize.js';
import { accessPorts, realizationSpecOf } from './specification.js';
import { type InstanceStatus, statusFromObservation } from './status.js';

type Instance = StoredResource<InstanceSpec, InstanceStatus>;

/** Seconds between looks when nothing is expected to change; observations nudge sooner. */
const quietSeconds = 30;
const retrySeconds = 2;
const refusedSeconds = 15;
const rescueSeconds = 1;

/** Brings an instance to what its owner wants at the place it is. Moves are runs; while one lives this only looks. */
export async function reconcileInstance(context: InstanceContext, resource: Instance): Promise<Outcome> {
  try {
    if (resource.deletedAt !== undefined) return await deleteInstance(context, resource);
    const realizations = await context.store.ledger.ofResource(resource.uid);
    const primary = realizations.find(({ role, facet }) => role === 'primary' && facet === 'instances');
    if (primary !== undefined && (await isMoving(context, resource))) {
      await look(context, resource, primary, 'before');
      return { waitSeconds: quietSeconds, reason: 'a move is under way' };
    }
    if (primary?.handle !== undefined) {
      // What cannot be seen is not changed either: the site is asked for the instance before anything else is asked of it.
      const seen = await look(context, resource, primary, 'before');
      if (seen.type === 'unknown') return outcomeOf(seen, 'on');
    }
    return await converge(context, resource, primary);
  } catch (thrown) {
    const problem = toProblem(thrown);
    if (problem.retry === 'never') await showTrouble(context, resource, problem.message);
    if (problem.retry === 'never' && problem.kind !== 'conflict') throw thrown;
    return { waitSeconds: problem.retryAfterSeconds ?? retrySeconds, reason: problem.message };
  }
}

/** What will not pass by itself is for the owner to see, not for the log alone. */
async function showTrouble(context: KindContext, resource: Instance, message: string): Promise<void> {
  await context.store.transaction(async (tx) => {
    const current = await tx.lock(resource.uid);
    if (current === undefined || current.deletedAt !== undefined) return;
    await tx.setStatus(resource.uid, {}, { state: 'error', type: 'Reconciled', reason: blocked, message });
  });
}

async function isMoving(context: KindContext, resource: Instance): Promise<boolean> {
  return (await context.runner.list({ subject: `${resource.kind}/${resource.uid}`, live: true })).length > 0;
}

async function converge(context: InstanceContext, resource: Instance, primary: Realization | undefined): Promise<Outcome> {
  const parts = await partsOfInstance(context.store, resource);
  let realization = primary;
  if (realization === undefined) {
    const placed = await placeInstance(context, resource, parts);
    if ('refusal' in placed) {
      await context.store.transaction(async (tx) => {
        await tx.setStatus(resource.uid, {}, { state: 'pending', type: 'Placed', reason: 'NothingFits', message: placed.refusal });
      });
      return { waitSeconds: refusedSeconds, reason: placed.refusal };
    }
    realization = placed.realization;
  }
  const { site, host } = realization;
  if (host === undefined) throw new Problem('internal', 'a realization of an instance names no host');
  await context.access.ensure(resource.uid, accessPorts(resource.extensions));
  const volumes: Handle[] = [];
  for (const volume of parts.volumes) {
    await ensureClaim(context, volume, { site, host });
    volumes.push((await realizeBlockStorage(context, volume, { site, host, role: 'primary' })).handle);
  }
  const disk = await rescueDisk(context, resource, host);
  const { permit, power, rescue } = await context.store.transaction(async (tx) => {
    // One moment: a restart that ends a rescue must not be asked for with the rescue still there.
    const current = await tx.lock<InstanceSpec, InstanceStatus>(resource.uid);
    return {
      permit: await currentPermit(tx.client, resource.uid),
      power: await instancePower(tx.client, resource.uid),
      rescue: current !== undefined && bootsFromRescue(current) ? disk : undefined,
    };
  });
  const spec = await realizationSpecOf(
    context,
    resource,
    { site, host },
    {
      ...power,
      volumes,
      ...(rescue === undefined ? {} : { rescue }),
      ...(permit !== undefined && permit.holder === host && permit.surrendered === undefined ? { permit: permit.permit } : {}),
      ...factsOf(realization),
    },
  );
  const facet = await instancesFacet(context, site);
  if (realization.handle === undefined) {
    const handle = (await facet.find(realization.key)) ?? (await facet.create(spec, realization.key));
    const { id } = realization;
    await context.store.transaction(async (tx) => await tx.ledger.confirm(id, handle));
    realization = { ...realization, handle, state: 'present' };
  }
  const { handle } = realization;
  const nics = await nicsForInstance(context.store, parts.nicUids);
  await showPublicIps(context, resource, nics, { site, host });
  if (handle !== undefined) await facet.update(handle, spec);
  await rememberGroups(context, resource, nics, realization);
  const seen = await look(context, resource, realization, 'after');
  await settleSize(context, resource, parts.size, seen);
  if (await settleRescue(context, resource, seen)) return { waitSeconds: rescueSeconds, reason: 'its rescue begins or ends' };
  return outcomeOf(seen, power.power);
}

/** Public IPs, and the NICs that name them, are what their owner put: they say that the host cannot lead them to the instance. */
async function showPublicIps(
  context: KindContext,
  { address }: Instance,
  nics: readonly NicOfInstance[],
  at: { readonly site: string; readonly host: string },
): Promise<void> {
  const leading = nics.flatMap(({ publicIps, waysIn }) => publicIps.filter(({ site, version }) => site === at.site && waysIn.has(version)));
  if (leading.length === 0) return;
  const refusal = await publicIpRefusal(context, address.name, at);
  await context.store.transaction(async (tx) => {
    for (const uid of new Set(leading.flatMap((ip) => [ip.uid, ip.nicUid]))) await showServed(tx, uid, refusal);
  });
}

/** Keeps which groups its host was told that its NICs are in; those it left leave the host only then. */
async function rememberGroups(
  context: KindContext,
  resource: Instance,
  nics: readonly NicOfInstance[],
  realization: Realization,
): Promise<void> {
  const own = await instanceGroup(context.store, resource.uid);
  const groups = [...new Set([...nics.flatMap(({ groupUids }) => groupUids), ...(own === undefined ? [] : [own])])].sort();
  const told = (realization.facts['securityGroups'] ?? []) as readonly Id<'resource'>[];
  if (JSON.stringify(groups) === JSON.stringify(told)) return;
  await context.store.transaction(async (tx) => {
    await tx.ledger.setFacts(realization.id, { securityGroups: groups });
    for (const uid of told) if (!groups.includes(uid)) await tx.nudge(securityGroup.kind, uid);
  });
}

/** A data volume that came between the placement of its instance and now has no room of its own yet. */
async function ensureClaim(
  context: InstanceContext,
  { uid, spec }: StoredResource<BlockStorageSpec>,
  at: { readonly site: string; readonly host: string },
): Promise<void> {
  if ((await context.store.ledger.ofResource(uid)).length > 0) return;
  await context.store.transaction(async (tx) => {
    const held = await tx.lock(uid);
    if (held !== undefined) await claimStorage(context, tx, uid, at, blockStorageBytes(spec.sizeGB));
  });
}

/** Observes the realization, before or after it was asked to be what it should, and writes what was seen. */
async function look(
  context: KindContext,
  resource: Instance,
  realization: Realization,
  when: 'before' | 'after',
): Promise<Observation<InstanceRealizationStatus>> {
  const { handle } = realization;
  if (handle === undefined) throw new Problem('unavailable', 'it was not created at its site yet');
  const facet = await instancesFacet(context, realization.site);
  const seen = await facet.observe(handle);
  await context.store.transaction(async (tx) => {
    const current = await tx.lock<InstanceSpec, InstanceStatus>(resource.uid);
    if (current === undefined) return;
    const facts = learnt(seen, realization);
    if (facts !== undefined) await tx.ledger.setFacts(realization.id, facts);
    const wanted = await instancePower(tx.client, resource.uid);
    const volumes =
      seen.type === 'present' || seen.type === 'changing' || seen.type === 'broken'
        ? { volumes: await attachedVolumes(tx, seen.status.disks) }
        : {};
    await tx.setStatus(
      resource.uid,
      { ...statusFromObservation(seen, current.status, context.now().toISOString()), ...volumes },
      conditionFrom(seen, wanted.power, current, when, diskTrouble(volumes.volumes)),
    );
  });
  return seen;
}

/** Facts only the site can tell, kept for its next start anywhere. */
function learnt(seen: Observation<InstanceRealizationStatus>, realization: Realization): Record<string, unknown> | undefined {
  if (seen.type !== 'present' && seen.type !== 'changing') return undefined;
  const { machine, cpuModel } = seen.status;
  if (machine === undefined || cpuModel === undefined) return undefined;
  return realization.facts['machine'] === machine && realization.facts['cpuModel'] === cpuModel ? undefined : { machine, cpuModel };
}

function factsOf(realization: Realization): { machine?: string; cpuModel?: string } {
  const { machine, cpuModel } = realization.facts;
  return { ...(typeof machine === 'string' ? { machine } : {}), ...(typeof cpuModel === 'string' ? { cpuModel } : {}) };
}

function outcomeOf(seen: Observation<InstanceRealizationStatus>, wanted: 'on' | 'off'): Outcome {
  switch (seen.type) {
    case 'present':
      return { waitSeconds: isSettled(seen.status.activity, wanted) ? quietSeconds : retrySeconds, reason: seen.status.activity };
    case 'changing':
      return { waitSeconds: seen.retryAfterSeconds, reason: seen.status.waitingFor ?? seen.status.activity };
    case 'unknown':
      return { waitSeconds: quietSeconds, reason: seen.reason };
    case 'broken':
      return { waitSeconds: refusedSeconds, reason: seen.problem.message };
    case 'absent':
      return { waitSeconds: retrySeconds, reason: 'not there' };
  }
}
