import type { BootEvidence } from '@virt8ra/contract';
import { type Id, type InstanceSpec, type MigrationSpec, Problem } from '@virt8ra/contract';
import type { Handle, InstanceRealizationStatus } from '@virt8ra/driver';
import { type Candidate, rankCandidates, type Verdict } from '../../placement/placement.js';
import type { Realization } from '../../resources/ledger-types.js';
import type { StoredResource } from '../../resources/stored-resource.js';
import { originOfVolume } from '../block-storage/index.js';
import type { KindContext } from '../context.js';
import {
  hostCandidates,
  type InstanceParts,
  type InstanceStatus,
  networkingNeeds,
  partsOfInstance,
  readApart,
  requirementOf,
} from '../instance/index.js';
import { evidenceOf } from './boot-probe.js';
import type { LiveQuestion } from './live-fault.js';
import { startedAs } from './live-outlook.js';
import type { Place, PlannedVolume } from './plan.js';
import { facetsAt, type SiteFacets, statusOf } from './site-facets.js';

/** A realization that stands at its site. */
export interface Found {
  readonly id: Id<'realization'>;
  readonly key: string;
  readonly handle: Handle;
}

export interface SurveyedVolume extends Found {
  readonly sizeBytes: number;
  readonly origin: PlannedVolume['origin'];
  readonly allocatedBytes?: number;
  /** By whom it was seen, and when. */
  readonly source: string;
  readonly seenAt?: string;
}

/** What was found at the source before anything was decided. */
export interface Survey {
  readonly parts: InstanceParts;
  /** What the guest began as. */
  readonly status: LiveQuestion['status'];
  readonly activity: InstanceRealizationStatus['activity'];
  readonly instance: Found;
  /** What it shows of itself. */
  readonly evidence: BootEvidence;
  readonly machine?: string;
  readonly cpuModel?: string;
  readonly volumes: readonly SurveyedVolume[];
}

/** Both ends of a move, and how fit each host of the target is. Nothing is claimed yet. */
export interface SurveyedMove {
  readonly from: Place;
  readonly source: SiteFacets;
  readonly target: SiteFacets;
  readonly survey: Survey;
  readonly candidates: readonly Candidate[];
  readonly verdicts: readonly Verdict[];
}

/** Looks at both ends and changes nothing. Raises `conflict` when something stands in the way, `unsupported` when a site cannot do it. */
export async function surveyMove(
  context: KindContext,
  instance: StoredResource<InstanceSpec, InstanceStatus>,
  { mode, toSite, toHost }: Pick<MigrationSpec, 'mode' | 'toSite' | 'toHost'>,
): Promise<SurveyedMove> {
  const { placement } = instance.status;
  if (placement?.host === undefined) throw new Problem('conflict', `instance ${instance.address.name} is not placed yet`);
  const from: Place = { site: placement.site, host: placement.host };
  const source = await facetsAt(context, from.site);
  const target = await facetsAt(context, toSite);
  const survey = await surveySource(context, source, instance, mode);
  const candidates = (await hostCandidates(context, [toSite])).filter(({ host }) => host !== from.host && (toHost ?? host) === host);
  if (candidates.length === 0 && toHost !== undefined) throw new Problem('conflict', `site ${toSite} has no host ${toHost} to move it to`);
  const networking = await networkingNeeds(context.store, instance, survey.parts.nicUids, toSite);
  const apart = await readApart(context.store, instance);
  const verdicts = rankCandidates(candidates, requirementOf(survey.parts, toSite, undefined, { networking, apart }));
  return { from, source, target, survey, candidates, verdicts };
}

/** Raises `conflict` when the instance or a disk of it cannot be moved so now, `unavailable` while that cannot be told. */
export async function surveySource(
  context: KindContext,
  source: SiteFacets,
  instance: StoredResource<InstanceSpec, InstanceStatus>,
  mode: MigrationSpec['mode'],
): Promise<Survey> {
  const { name } = instance.address;
  const parts = await partsOfInstance(context.store, instance);
  const found = await primaryOf(context, instance.uid, 'instances', `instance ${name}`);
  const status = statusOf(await source.instances.observe(found.handle), `instance ${name}`);
  if (status === undefined) throw new Problem('unavailable', `the site does not tell how instance ${name} is`);
  if (mode !== 'cold' && status.activity !== 'running')
    throw new Problem('conflict', `instance ${name} is ${status.activity}; a ${mode} move needs it running, use mode cold`);
  const volumes: SurveyedVolume[] = [];
  for (const volume of parts.volumes) {
    const what = `block storage ${volume.address.name}`;
    const disk = await primaryOf(context, volume.uid, 'blockStorages', what);
    const observation = await source.blockStorages.observe(disk.handle);
    const seen = statusOf(observation, what);
    if (seen === undefined || seen.state === 'settling' || seen.state === 'arrived')
      throw new Problem('unavailable', `${what} is not ready yet`);
    if (seen.state !== 'ready') throw new Problem('conflict', `${what} is ${seen.state}; only a ready one can be moved`);
    volumes.push({
      id: disk.id,
      key: disk.key,
      handle: disk.handle,
      sizeBytes: seen.sizeBytes,
      origin: await originOfVolume(context, volume, disk),
      source: observation.source,
      ...('at' in observation ? { seenAt: observation.at } : {}),
      ...(seen.allocatedBytes === undefined ? {} : { allocatedBytes: seen.allocatedBytes }),
    });
  }
  const began = startedAs(found, status);
  const { machine, cpuModel } = began;
  return {
    parts,
    status: began,
    evidence: evidenceOf(status, parts.firmware),
    activity: status.activity,
    instance: { id: found.id, key: found.key, handle: found.handle },
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
