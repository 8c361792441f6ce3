import { host as hostKind, type InstanceSpec, type MigrationSpec, Problem, type ReturnRequest } from '@virt8ra/contract';
import type { StoreTransaction } from '../../../resources/store.js';
import type { StoredResource } from '../../../resources/stored-resource.js';
import { assertNotBackedUp } from '../../backing-up.js';
import type { Subject } from '../../behaviour.js';
import type { KindContext } from '../../context.js';
import { assertDisksSettled, assertNotInRescue, type InstanceStatus } from '../../instance/index.js';
import type { MoveInput } from '../plan.js';
import type { MigrationStatus } from '../subjects.js';
import { hasWindow } from './tend-window.js';
import { setWindow } from './window.js';

type Migration = StoredResource<MigrationSpec, MigrationStatus>;

/** Asks for the instance to be brought back. Asked for again nothing changes. Raises `conflict` when there is no way back, or something stands in it. */
export async function askForReturn(
  context: KindContext,
  tx: StoreTransaction,
  resource: Migration,
  instance: MoveInput['instance'],
  subject: Subject,
  { mode }: ReturnRequest,
): Promise<void> {
  const held = (await tx.lock<MigrationSpec, MigrationStatus>(resource.uid)) ?? resource;
  const { name } = held.address;
  if (!hasWindow(held)) throw new Problem('conflict', noWayBack(held));
  const { asked, until, at, attempt } = held.status.wayBack;
  if (asked === 'return' && (mode ?? held.status.return?.mode) === held.status.return?.mode) return;
  if (asked === 'return')
    throw new Problem(
      'conflict',
      `migration ${name} is returning ${held.status.return?.mode ?? ''} already; cancel that first: virt8ra cancel ${name}`,
    );
  if (asked === 'release' || Date.parse(until) <= context.now().getTime())
    throw new Problem('conflict', `the way back of migration ${name} is over; move the instance anew: virt8ra migrate`);
  const moved = await tx.lock<InstanceSpec, InstanceStatus>(instance);
  if (moved === undefined || moved.deletedAt !== undefined) throw new Problem('conflict', 'its instance is gone');
  assertDisksSettled(moved);
  assertNotInRescue(moved);
  const disks = (await tx.referencesOf(instance)).filter(({ pointer }) => pointer.endsWith('/deviceRef'));
  await assertNotBackedUp(tx, [instance, ...disks.map(({ uid }) => uid)], 'let it return');
  const target = await tx.share<unknown, { readonly cordoned?: boolean }>(hostKind, { name: at.host });
  if (target?.status.cordoned === true)
    throw new Problem('conflict', `host ${at.host} is cordoned and takes nothing; open it first: virt8ra uncordon ${at.host}`);
  const activity = moved.status.activity?.value;
  const chosen = mode ?? (activity === 'running' ? 'warm' : 'cold');
  if (chosen !== 'cold' && activity !== 'running')
    throw new Problem(
      'conflict',
      `instance ${moved.address.name} is ${activity ?? 'not seen'}; a ${chosen} return needs it running, use cold`,
    );
  await setWindow(tx, held, { asked: 'return', attempt: attempt + 1 });
  await tx.setStatus(
    held.uid,
    { return: { mode: chosen, askedAt: context.now().toISOString(), askedBy: subject.name } },
    { state: 'updating', type: 'WayBack', reason: 'ReturnAsked', message: `${subject.name} asked for its return` },
  );
  await tx.nudge('migration', held.uid);
}

/** Gives the way back up. Asked for again nothing changes. Raises `conflict` while a return is under way, and when there is no way back. */
export async function askForRelease(tx: StoreTransaction, resource: Migration, subject: Subject): Promise<void> {
  const held = (await tx.lock<MigrationSpec, MigrationStatus>(resource.uid)) ?? resource;
  const { name } = held.address;
  if (!hasWindow(held)) throw new Problem('conflict', noWayBack(held));
  const { asked } = held.status.wayBack;
  if (asked === 'release') return;
  if (asked === 'return')
    throw new Problem('conflict', `migration ${name} is returning; wait for its end, or cancel that first: virt8ra cancel ${name}`);
  await setWindow(
    tx,
    held,
    { asked: 'release', ended: 'released' },
    { state: 'updating', type: 'WayBack', reason: 'ReleaseAsked', message: `${subject.name} gave the way back up` },
  );
  await tx.nudge('migration', held.uid);
}

/** Calls a return off. Answers the run that is to be undone, if it has begun. Raises `conflict` when none is under way. */
export async function callReturnOff(tx: StoreTransaction, resource: Migration): Promise<string | undefined> {
  const held = (await tx.lock<MigrationSpec, MigrationStatus>(resource.uid)) ?? resource;
  const { name } = held.address;
  if (!hasWindow(held)) throw new Problem('conflict', noWayBack(held));
  if (held.status.wayBack.asked !== 'return')
    throw new Problem(
      'conflict',
      `migration ${name} is done; let the instance return, or give its way back up: virt8ra migration return|release ${name}`,
    );
  if (held.status.return?.run !== undefined) return held.status.return.run;
  await setWindow(
    tx,
    held,
    { asked: undefined },
    { state: 'active', type: 'WayBack', reason: 'ReturnUndone', message: 'it was called off' },
  );
  await tx.setStatus(held.uid, { return: undefined });
  await tx.nudge('migration', held.uid);
  return undefined;
}

function noWayBack({ address, status, spec }: Migration): string {
  const { name } = address;
  if (status.wayBack?.ended !== undefined)
    return `the way back of migration ${name} has ended: ${status.wayBack.ended} at ${status.wayBack.endedAt ?? 'a time that is not known'}`;
  if (spec.wayBack === undefined) return `migration ${name} keeps no way back; one is asked for beforehand, with wayBack`;
  return `migration ${name} is ${status.phase ?? 'about to begin'}; its way back begins when it is proven`;
}
