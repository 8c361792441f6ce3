import { Problem } from '@virt8ra/contract';
import type { Handle } from '@virt8ra/driver';
import type { Poll, StepContext } from '@virt8ra/engine';
import type { KindContext } from '../context.js';
import type { MoveInput, MovePlan, Prepared } from './plan.js';
import { call, facetsAt, lastStatusOf, statusOf, write } from './site-facets.js';
import { outgoingSpec } from './source.js';
import { showPhase } from './subjects.js';
import { incomingSpec } from './target.js';
import type { Released } from './transfer.js';

/** One disk, read again from end to end at both sides. */
export interface DiskDigest {
  readonly disk: string;
  readonly source: string;
  readonly target: string;
  readonly equal: boolean;
}

/** Hosts keep what they have read under its request: the way back reads anew what the way there has read already. */
function requestOf({ migration }: MoveInput, { way, transfer }: MovePlan): string {
  return way === 'back' ? transfer.key : migration;
}

/** Asks both sides to read the frozen disks from end to end. */
export async function requestDigests(
  context: KindContext,
  step: StepContext,
  input: MoveInput,
  plan: MovePlan,
  prepared: Prepared,
): Promise<void> {
  await write(context, step, async (tx) => await showPhase(tx, input.migration, 'verify'));
  const source = await facetsAt(context, plan.from.site);
  const target = await facetsAt(context, plan.to.site);
  const digestRequest = requestOf(input, plan);
  for (const [index, volume] of plan.volumes.entries()) {
    const arriving = prepared.volumes[index];
    if (arriving === undefined) throw new Problem('internal', 'a disk was prepared without a handle');
    await call(step, async () => await source.blockStorages.update(volume.source.handle, outgoingSpec(plan, volume, digestRequest)));
    await call(step, async () => await target.blockStorages.update(arriving, incomingSpec(plan, volume, { settle: false, digestRequest })));
  }
}

/** Undo: the source's disks are no longer asked for a digest. */
export async function withdrawDigests(context: KindContext, step: StepContext, plan: MovePlan): Promise<void> {
  const source = await facetsAt(context, plan.from.site);
  for (const volume of plan.volumes) {
    const seen = lastStatusOf(await source.blockStorages.observe(volume.source.handle));
    if (seen === 'absent') continue;
    await call(step, async () => await source.blockStorages.update(volume.source.handle, outgoingSpec(plan, volume)));
  }
}

/** Waits for every digest. Raises `conflict` when a disk is not at the target what it is at the source. */
export async function pollDigests(
  context: KindContext,
  input: MoveInput,
  plan: MovePlan,
  prepared: Prepared,
  released: Released,
): Promise<Poll<readonly DiskDigest[]>> {
  const source = await facetsAt(context, plan.from.site);
  const target = await facetsAt(context, plan.to.site);
  const rootOf = async (facets: typeof source, handle: Handle, what: string): Promise<string | undefined> => {
    const digest = statusOf(await facets.blockStorages.observe(handle), what)?.digest;
    return digest?.request === requestOf(input, plan) ? digest.root : undefined;
  };
  const digests: DiskDigest[] = [];
  for (const [index, volume] of plan.volumes.entries()) {
    const arrived = prepared.volumes[index];
    if (arrived === undefined) throw new Problem('internal', 'a disk was prepared without a handle');
    const atSource = await rootOf(source, volume.source.handle, `block storage ${volume.name} at ${plan.from.host}`);
    const atTarget = await rootOf(target, arrived, `block storage ${volume.name} at ${plan.to.host}`);
    if (atSource === undefined || atTarget === undefined) return { waitSeconds: 1 };
    // In a live move the hypervisors copied; only what was read again can be compared.
    const equal = atSource === atTarget && (plan.mode === 'live' || atTarget === released.roots[index]);
    digests.push({ disk: volume.name, source: atSource, target: atTarget, equal });
  }
  const differing = digests.filter(({ equal }) => !equal);
  if (differing.length > 0) {
    throw new Problem(
      'conflict',
      `block storage ${differing.map(({ disk }) => disk).join(', ')} is not at the target what it is at the source`,
      {
        facts: { digests, sent: released.roots },
      },
    );
  }
  return { done: digests };
}
