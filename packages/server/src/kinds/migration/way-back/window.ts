import { type MigrationSpec, Problem, type WayBack } from '@virt8ra/contract';
import type { StepContext } from '@virt8ra/engine';
import type { StoreTransaction } from '../../../resources/store.js';
import type { StoredResource } from '../../../resources/stored-resource.js';
import type { KindContext } from '../../context.js';
import type { MoveInput, MovePlan } from '../plan.js';
import { facetsAt, lastStatusOf, write } from '../site-facets.js';
import type { Measured, MigrationStatus } from '../subjects.js';

type Migration = StoredResource<MigrationSpec, MigrationStatus>;

const hourMs = 3_600_000;

/** Changes what is shown of the window; nothing when there is none. The migration must be locked. */
export async function setWindow(
  tx: StoreTransaction,
  { uid, status }: Pick<Migration, 'uid' | 'status'>,
  change: Readonly<Partial<{ [Member in keyof WayBack]: WayBack[Member] | undefined }>>,
  condition?: Parameters<StoreTransaction['setStatus']>[2],
): Promise<void> {
  if (status.wayBack === undefined) return;
  const wayBack = Object.fromEntries(Object.entries({ ...status.wayBack, ...change }).filter(([, value]) => value !== undefined));
  await tx.setStatus(uid, { wayBack }, condition);
}

/** The move there is over; its disks at the source are kept. */
export async function openWindow(
  context: KindContext,
  step: StepContext,
  { migration }: MoveInput,
  plan: MovePlan & { readonly keepHours: number },
  measured: Measured,
): Promise<void> {
  const { blockStorages } = await facetsAt(context, plan.from.site);
  let retainedBytes = 0;
  for (const { source, sizeBytes } of plan.volumes) {
    const seen = lastStatusOf(await blockStorages.observe(source.handle));
    if (seen === undefined)
      throw new Problem('unavailable', `host ${plan.from.host} does not tell how much room the retained disks take`, {
        retryAfterSeconds: 1,
      });
    if (seen !== 'absent') retainedBytes += seen.allocatedBytes ?? sizeBytes;
  }
  await write(context, step, async (tx) => {
    const now = context.now();
    await tx.lock(migration);
    await tx.setProgress(migration, undefined);
    const at = now.toISOString();
    const until = new Date(now.getTime() + plan.keepHours * hourMs).toISOString();
    const wayBack: WayBack = {
      at: plan.from,
      openedAt: at,
      until,
      retainedBytes,
      reverse: { state: 'stopped', passes: 0, bytes: 0, at, reason: 'it is about to begin' },
      attempt: 0,
    };
    await tx.setStatus(
      migration,
      { phase: 'kept', finishedAt: at, ...measured, wayBack },
      {
        state: 'active',
        type: 'WayBack',
        reason: 'Open',
        message: `the target is proven; the source’s disks are kept at ${plan.from.host} until ${until}`,
      },
    );
    await tx.nudge('migration', migration);
  });
}

/** It is back where it came from, and nothing is left where it was meanwhile. */
export async function endJourneyBack(context: KindContext, step: StepContext, { migration }: MoveInput, measured: Measured): Promise<void> {
  await write(context, step, async (tx) => {
    const held = await tx.lock<MigrationSpec, MigrationStatus>(migration);
    if (held === undefined) return;
    await tx.setProgress(migration, undefined);
    const now = context.now().toISOString();
    await setWindow(tx, held, { asked: undefined, warning: undefined, cost: undefined, endedAt: now, ended: 'returned' });
    await tx.setStatus(
      migration,
      { phase: 'brought-back', return: { ...held.status.return, ...measured, finishedAt: now } },
      {
        state: 'active',
        type: 'WayBack',
        reason: 'Returned',
        message: `it is at ${held.status.wayBack?.at.site ?? 'its source'} again, with what was written meanwhile`,
      },
    );
  });
}

/** The way back is given up, and nothing of it is left. */
export async function closeWindow(context: KindContext, step: StepContext, { migration }: MoveInput): Promise<void> {
  await write(context, step, async (tx) => {
    const held = await tx.lock<MigrationSpec, MigrationStatus>(migration);
    if (held === undefined) return;
    await tx.setProgress(migration, undefined);
    const { ended = 'released' } = held.status.wayBack ?? {};
    const endedAt = context.now().toISOString();
    await setWindow(tx, held, { asked: undefined, warning: undefined, cost: undefined, endedAt, ended });
    await tx.setStatus(
      migration,
      { phase: 'done' },
      {
        state: 'active',
        type: 'WayBack',
        reason: ended === 'expired' ? 'Expired' : 'Released',
        message: 'the way back is over and the source is clean',
      },
    );
  });
}
