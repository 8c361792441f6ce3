import { host as hostKind, type InstanceSpec, instance, type MigrationSpec, migration, Problem, site } from '@virt8ra/contract';
import type { StoreTransaction } from '../../resources/store.js';
import type { ResolvedReference, StoredResource } from '../../resources/stored-resource.js';
import { assertNotBackedUp } from '../backing-up.js';
import type { KindContext } from '../context.js';
import { assertDisksSettled, assertNotInRescue, type InstanceStatus, sharesHost } from '../instance/index.js';
import { wordOnWindow } from '../moving.js';
import { assertNoSnapshots } from '../snapshotted.js';
import { publicIpsLostBy } from './public-ips.js';
import { isOver, type MigrationStatus } from './subjects.js';

/** Why a migration would be refused now. A plan tells all of them, a PUT the first: both have the same words. */
export interface Objection {
  readonly code: string;
  readonly problem: Problem;
  readonly where: string;
  readonly mend: string;
}

/** What a migration is about, as far as it was found. */
export interface Examined {
  readonly instance: StoredResource<InstanceSpec, InstanceStatus>;
  readonly reference: ResolvedReference;
  /** Undefined: something is missing that all else depends on. */
  readonly from: { readonly site: string; readonly host?: string } | undefined;
  readonly publicIpsLost: readonly string[];
}

/**
 * Looks for everything that stands in the way of a migration, and tells `object` each. The instance's row is locked, so that two moves of it that are
 * asked for at once meet there. Raises `validation` for a reference to nothing.
 */
export async function examine(
  context: KindContext,
  tx: StoreTransaction,
  { address, spec }: Pick<StoredResource<MigrationSpec>, 'address' | 'spec'>,
  object: (objection: Objection) => void,
): Promise<Examined> {
  const { instanceRef, toSite, toHost, mode, fallback, losePublicIps } = spec;
  const { target, reference } = await tx.resolve<InstanceSpec, InstanceStatus>(instance, instanceRef, address, '/spec/instanceRef');
  const moved = (await tx.lock<InstanceSpec, InstanceStatus>(target.uid)) ?? target;
  const { name } = target.address;
  const self = `instance/${name}`;
  const refuse = (code: string, where: string, mend: string, ...problem: ConstructorParameters<typeof Problem>): void =>
    object({ code, where, mend, problem: new Problem(...problem) });
  const unless = async (code: string, where: string, mend: string, holds: () => Promise<void> | void): Promise<void> => {
    const problem = await raisedBy(holds);
    if (problem !== undefined) object({ code, where, mend, problem });
  };

  const from = moved.status.placement;
  if (from === undefined) {
    refuse('not-placed', self, 'start it first', 'conflict', `instance ${name} is not placed yet; move it once it is active`);
    return { instance: moved, reference, from: undefined, publicIpsLost: [] };
  }
  const toSiteSources = [{ pointer: '/spec/toSite' }];
  if ((await tx.get(site, { name: toSite })) === undefined) {
    refuse('no-site', `site/${toSite}`, 'choose one of: virt8ra get sites', 'validation', `there is no site ${toSite}`, {
      sources: toSiteSources,
    });
    return { instance: moved, reference, from: undefined, publicIpsLost: [] };
  }
  if (from.site === toSite && toHost === undefined)
    refuse(
      'there-already',
      self,
      'name another host of it with --host',
      'validation',
      `instance ${name} is at ${toSite} already; name another host of it as toHost to move it there`,
      { sources: toSiteSources },
    );
  if (toHost !== undefined) {
    const sources = [{ pointer: '/spec/toHost' }];
    const host = `host/${toHost}`;
    if (from.host === toHost)
      refuse('there-already', self, 'name another host', 'validation', `instance ${name} is on host ${toHost} already`, { sources });
    if ((await tx.get(hostKind, { name: toHost })) === undefined)
      refuse('no-host', host, 'choose one of: virt8ra get hosts', 'validation', `there is no host ${toHost}`, { sources });
    const shared = await sharesHost(tx, moved, toHost);
    if (shared !== undefined)
      refuse('anti-affinity', host, 'name another host', 'conflict', `${shared}, which ${name} is in, too; name another host`, { sources });
  }
  const others = (await tx.usersOf(target.uid, migration)) as readonly StoredResource<MigrationSpec, MigrationStatus>[];
  const other = others.find((each) => each.deletedAt === undefined && !isOver(each));
  if (other !== undefined)
    refuse(
      'being-moved',
      `migration/${other.address.name}`,
      other.status.phase === 'kept'
        ? `give its way back up: virt8ra migration release ${other.address.name}`
        : `wait until that is over, or call it off: virt8ra cancel ${other.address.name}`,
      'conflict',
      wordOnWindow(other, 'move it') ?? `instance ${name} is being moved by migration ${other.address.name}`,
    );
  // A move that is done ends its run a moment later: the next one begins then. A stuck run never ends by itself.
  const [live] = await context.runner.list({ subject: `${instance.kind}/${target.uid}`, live: true, limit: 1 });
  if (live?.state === 'stuck')
    refuse(
      'stuck-run',
      self,
      'look at the history of its last migration',
      'conflict',
      `instance ${name} is held by a stuck run of ${live.workflow} (${live.id}); it must be resumed first`,
    );
  await unless('disks-unsettled', self, 'wait until its disks are attached or detached', () => assertDisksSettled(moved));
  await unless('in-rescue', self, `end the rescue: virt8ra rescue ${name} --end`, () => assertNotInRescue(moved));
  const disks = (await tx.referencesOf(target.uid)).filter(({ pointer }) => pointer.endsWith('/deviceRef')).map(({ uid }) => uid);
  await unless('being-backed-up', self, 'wait until the backup has read it', async () => {
    await assertNotBackedUp(tx, [target.uid, ...disks], 'move it');
  });
  await unless('snapshots', self, 'delete its snapshots, or back it up first: virt8ra get snapshots', async () => {
    await assertNoSnapshots(tx, disks, `instance ${name} cannot be moved with snapshots, which stay at their host`);
  });
  const activity = moved.status.activity?.value;
  if (mode !== 'cold' && activity !== 'running')
    refuse(
      'not-running',
      self,
      'start it, or move it with --mode cold',
      'conflict',
      `instance ${name} is ${activity ?? 'not seen'}; a ${mode} move needs it running, use cold`,
    );
  if (mode !== 'live' && fallback !== undefined)
    refuse('fallback-not-live', self, 'leave --fallback out', 'validation', 'only a live move can fall back to a warm one', {
      sources: [{ pointer: '/spec/fallback' }],
    });
  if (mode === 'live' && fallback === undefined && spec.guestChanges !== undefined)
    refuse(
      'guest-changes-live',
      self,
      'move it with --mode warm or cold',
      'validation',
      'a live move changes nothing inside the guest, which runs on; move it warm or cold',
      { sources: [{ pointer: '/spec/guestChanges' }] },
    );
  const publicIpsLost = from.site === toSite ? [] : await publicIpsLostBy(tx, target.uid, from.site);
  if (publicIpsLost.length > 0 && losePublicIps !== true) {
    const them = publicIpsLost.length === 1 ? 'it' : 'them';
    refuse(
      'public-ips-lost',
      self,
      `take ${them} out of its NICs, or accept it with --lose-public-ips`,
      'conflict',
      `instance ${name} would lose ${publicIpsLost.join(' and ')}, which ${publicIpsLost.length === 1 ? 'stays' : 'stay'} at ${from.site}; take ${them} out of its NICs, or set losePublicIps`,
      { sources: [{ pointer: '/spec/losePublicIps' }] },
    );
  }
  return {
    instance: moved,
    reference,
    from: { site: from.site, ...(from.host === undefined ? {} : { host: from.host }) },
    publicIpsLost,
  };
}

async function raisedBy(holds: () => Promise<void> | void): Promise<Problem | undefined> {
  try {
    await holds();
    return undefined;
  } catch (error) {
    if (error instanceof Problem) return error;
    throw error;
  }
}
