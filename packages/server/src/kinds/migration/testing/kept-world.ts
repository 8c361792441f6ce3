import { type Id, Problem, type WayBack } from '@virt8ra/contract';
import type { Workflow } from '@virt8ra/engine';
import type { Pool } from 'pg';
import { claimOnHost } from '../../../capacity/claims.js';
import type { MoveInput } from '../plan.js';
import type { MigrationStatus } from '../subjects.js';
import { createFlowWorkflow } from '../way-back/flow-workflow.js';
import { createReleaseWorkflow } from '../way-back/release-workflow.js';
import { createMigrationWorkflow } from '../workflow.js';
import { createMigrationWorld, type MigrationWorld } from './migration-world.js';

const there = { site: 'beta', host: 'beta-1' } as const;
const home = { site: 'alpha', host: 'alpha-1' } as const;
const capacity = { vCPU: 8, memoryMiB: 16_384, storageBytes: 1e12 };
const nothing = { vCPU: 0, memoryMiB: 0, storageBytes: 0 };
const at = '2026-01-01T00:00:00.000Z';

export interface KeptOptions {
  /** What is tried in the window. */
  readonly workflow: 'flow' | 'release' | 'move';
  readonly asked?: WayBack['asked'];
  readonly mode?: 'warm' | 'cold' | 'live';
  /** The turn in which a return is asked for; never without. */
  readonly askAfter?: number;
}

/** The world after a move from `alpha` to `beta` that keeps a way back: the guest runs at `beta`, its old disks are at `alpha`. */
export async function createKeptWorld(pool: Pool, { workflow, asked, mode, askAfter }: KeptOptions): Promise<MigrationWorld> {
  const world = await createMigrationWorld(pool, { mode: 'warm', power: 'on', standsAt: there });
  const { context, store, uids } = world;
  await retain(world);
  const wayBack: WayBack = {
    at: home,
    openedAt: at,
    until: '2100-01-01T00:00:00.000Z',
    retainedBytes: 2e9,
    reverse: { state: 'stopped', passes: 0, bytes: 0, at },
    attempt: 1,
    ...(asked === undefined ? {} : { asked }),
  };
  await show(world, { phase: 'kept', wayBack, ...(asked === 'return' ? journey(mode) : {}) });
  const workflows: Readonly<Record<KeptOptions['workflow'], () => Workflow<MoveInput, null>>> = {
    flow: () => createFlowWorkflow(context),
    release: () => createReleaseWorkflow(context),
    move: () => createMigrationWorkflow(context),
  };
  let turns = 0;
  return {
    ...world,
    workflow: workflows[workflow](),
    input: { migration: uids.migration, instance: uids.instance, way: 'back', ...(mode === undefined ? {} : { mode }) },
    async proceed() {
      world.sites.tick();
      turns += 1;
      if (turns === askAfter && (await store.getByUid(uids.migration)) !== undefined)
        await show(world, { wayBack: { ...wayBack, asked: 'return' }, ...journey(mode) });
    },
  };
}

function journey(mode: KeptOptions['mode']): Pick<MigrationStatus, 'return'> {
  return { return: { mode: mode ?? 'warm', askedAt: at, askedBy: 'ada' } };
}

async function show({ store, uids }: MigrationWorld, status: Partial<MigrationStatus>): Promise<void> {
  await store.transaction(async (tx) => await tx.setStatus(uids.migration, status));
}

/** Puts the disks that the move has left behind at their host, and gives the guest the permit that it got after it. */
async function retain({ context, store, sites, uids }: MigrationWorld): Promise<void> {
  const { blockStorages } = await context.sites.connectionOf(home.site);
  if (blockStorages === undefined) throw new Problem('internal', 'a site without facets');
  await store.transaction(async (tx) => {
    const held = { ...nothing, role: 'retained', ...home } as const;
    await claimOnHost(tx.client, home.host, capacity, [
      { ...held, resourceUid: uids.instance, vCPU: 1, memoryMiB: 1024 },
      ...uids.volumes.map((resourceUid) => ({ ...held, resourceUid, storageBytes: 1e9 })),
    ]);
    for (const resourceUid of uids.volumes) {
      const facts = { keptBy: uids.migration satisfies Id<'resource'> };
      const { id, key } = await tx.ledger.intend({ role: 'retained', ...home, resourceUid, facet: 'blockStorages', facts });
      // What they hold is nobody's to change: here it is nothing, so that nobody misses it when they go.
      const spec = { sizeBytes: 1e9, host: home.host, source: { type: 'incoming', transferId: 'earlier' }, settle: true } as const;
      await tx.ledger.confirm(id, await blockStorages.create(spec, key));
    }
  });
  sites.tick();
}
