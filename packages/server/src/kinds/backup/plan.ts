import { type BackupSpec, type Id, Problem } from '@virt8ra/contract';
import type { BackupsFacet, Handle } from '@virt8ra/driver';
import type { StepContext } from '@virt8ra/engine';
import type { Realization } from '../../resources/ledger-types.js';
import { blockStorageBytes } from '../block-storage/index.js';
import type { KindContext } from '../context.js';
import { write } from '../site-calls.js';
import { type BackedUpVolume, type BackupStatus, isOver } from './status.js';
import { describeVolume, volumesOfBackup } from './subject.js';

export type BackupContext = Pick<KindContext, 'store' | 'sites' | 'now'>;

export interface BackupInput {
  readonly backup: Id<'resource'>;
}

/** Where the volumes are and under which key their host knows the backup. Plain JSON: it is journaled. */
export interface BackupPlan {
  readonly site: string;
  readonly host: string;
  readonly id: Id<'realization'>;
  readonly key: string;
  readonly handles: readonly Handle[];
  readonly volumes: readonly BackedUpVolume[];
}

/** What makes backups at a site. Raises `unsupported` when nothing does. */
export async function backupsAt(context: Pick<KindContext, 'sites'>, site: string): Promise<BackupsFacet> {
  const { backups } = await context.sites.connectionOf(site);
  if (backups === undefined) throw new Problem('unsupported', `site ${site} cannot make backups`);
  return backups;
}

/** Finds the volumes and writes the intent. Raises `conflict` when they are at no host, or at several. */
export async function makePlan(context: BackupContext, step: StepContext, { backup }: BackupInput): Promise<BackupPlan> {
  const known = await context.store.ledger.ofResource(backup);
  if (known[0] !== undefined) return planOf(known[0]);
  return await write(context, step, async (tx) => {
    const held = await tx.lock<BackupSpec, BackupStatus>(backup);
    if (held === undefined || held.deletedAt !== undefined || isOver(held.status))
      throw new Problem('conflict', 'the backup is not wanted any more');
    const [made] = await tx.ledger.ofResource(backup);
    if (made !== undefined) return planOf(made);
    const handles: Handle[] = [];
    const volumes: BackedUpVolume[] = [];
    let place: { readonly site: string; readonly host: string } | undefined;
    for (const volume of await volumesOfBackup(tx, held)) {
      const { name } = volume.address;
      const primary = (await tx.ledger.ofResource(volume.uid)).find(({ facet, role }) => facet === 'blockStorages' && role === 'primary');
      if (primary?.handle === undefined || primary.host === undefined)
        throw new Problem('conflict', `block storage ${name} is at no host yet: there is nothing to back up`);
      const at = { site: primary.site, host: primary.host };
      if (place !== undefined && place.host !== at.host)
        throw new Problem(
          'conflict',
          `block storage ${name} is on host ${at.host} and others on ${place.host}; they have no common moment`,
        );
      place = at;
      handles.push(primary.handle);
      volumes.push(await describeVolume(tx, volume, blockStorageBytes(volume.spec.sizeGB)));
    }
    if (place === undefined) throw new Problem('conflict', 'there is nothing to back up');
    await backupsAt(context, place.site);
    const intended = await tx.ledger.intend({ resourceUid: backup, role: 'primary', facet: 'backups', ...place });
    const plan: BackupPlan = { ...place, id: intended.id, key: intended.key, handles, volumes };
    await tx.ledger.setFacts(intended.id, { plan });
    await tx.setStatus(backup, { phase: 'waiting', volumes });
    return plan;
  });
}

function planOf({ facts }: Realization): BackupPlan {
  return facts['plan'] as BackupPlan;
}

/** Undo: nothing of it is at the host any more, so that the intent may be forgotten. */
export async function dropPlan(context: BackupContext, step: StepContext, { backup }: BackupInput): Promise<void> {
  await write(context, step, async (tx) => {
    for (const { id } of await tx.ledger.ofResource(backup)) await tx.ledger.forget(id);
    if ((await tx.lock(backup)) === undefined) return;
    await tx.setProgress(backup, undefined);
    await tx.setStatus(backup, { phase: 'waiting', takenAt: undefined, consistency: undefined, volumes: undefined });
    await tx.nudge('backup', backup);
  });
}
