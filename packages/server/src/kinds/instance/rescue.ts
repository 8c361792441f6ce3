import {
  type Id,
  type ImageSpec,
  type InstanceSpec,
  image,
  Problem,
  type RescueRequest,
  urnFromAddress,
  type VolumeSource,
} from '@virt8ra/contract';
import type { Handle, InstanceRealizationStatus, Observation } from '@virt8ra/driver';
import { claimOfResource, claimOnHost } from '../../capacity/claims.js';
import type { Realization } from '../../resources/ledger-types.js';
import type { StoreReader, StoreTransaction } from '../../resources/store.js';
import type { StoredResource } from '../../resources/stored-resource.js';
import { assertNotBackedUp } from '../backing-up.js';
import { type ImageFacts, imageOf } from '../block-storage/index.js';
import type { KindContext } from '../context.js';
import { assertNotMoving } from '../moving.js';
import { realizedHandle, withdrawn } from '../realize.js';
import { capacityOf } from './candidates.js';
import { partsOfInstance } from './parts.js';
import { instancePower, setInstancePower } from './power.js';
import type { InstanceStatus } from './status.js';

/**
 * Rescue: an instance boots from an image instead of its boot volume, with its own block storages beside it at their places. What it boots from is a disk of
 * its host that is made for this rescue and goes with it; its own are touched by nobody but the guest.
 */

type Instance = StoredResource<InstanceSpec, InstanceStatus>;
type Image = StoredResource<ImageSpec, ImageFacts>;

/** Admits a rescue: claims room for the disk and writes its intent. Raises `conflict`, `exhausted`, `unsupported`, `validation`; nothing has changed then. */
export async function askForRescue(context: KindContext, tx: StoreTransaction, resource: Instance, request: RescueRequest): Promise<void> {
  const { uid, address, deletedAt } = resource;
  const { name } = address;
  if (deletedAt !== undefined) throw new Problem('conflict', `instance ${name} is being deleted`);
  await assertNotMoving(context, tx, uid, 'rescue it');
  const held = await tx.lock<InstanceSpec, InstanceStatus>(uid);
  if (held?.status.rescue !== undefined)
    throw new Problem('conflict', `instance ${name} is in rescue already (${held.status.rescue.phase}); end that first: ${endText(name)}`);
  const primary = (await tx.ledger.ofResource(uid)).find(({ facet, role }) => facet === 'instances' && role === 'primary');
  const claim = await claimOfResource(tx.client, uid);
  if (primary?.handle === undefined || primary.host === undefined || claim === undefined)
    throw new Problem('conflict', `instance ${name} was not made at its site yet; rescue it once it is active`);
  const parts = await partsOfInstance(tx, resource);
  await assertNotBackedUp(tx, [uid, ...parts.volumes.map((volume) => volume.uid)], 'rescue it');
  if (parts.firmware !== 'BIOS')
    throw new Problem('unsupported', `instance ${name} boots with ${parts.firmware}; only BIOS guests can be rescued yet`);
  const { tenant, workspace } = address;
  const within = { ...(tenant === undefined ? {} : { tenant }), ...(workspace === undefined ? {} : { workspace }) };
  const [boot] = parts.volumes;
  const from =
    request.imageRef === undefined
      ? boot === undefined
        ? undefined
        : await imageOf(tx, boot.uid)
      : (await tx.resolve<ImageSpec, ImageFacts>(image, request.imageRef, within, '/imageRef')).target;
  if (from === undefined)
    throw new Problem(
      'validation',
      `the boot volume of instance ${name} was made from no image that is still there; name one to rescue it with`,
      {
        sources: [{ pointer: '/imageRef' }],
      },
    );
  const source = sourceOf(from, parts.architecture);
  const sizeBytes = from.status.virtualSizeBytes ?? 0;
  const { site, host } = { site: primary.site, host: primary.host };
  const hosts = (await (await context.sites.connectionOf(site)).hosts?.list()) ?? [];
  const inventory = hosts.find((each) => each.host === host)?.inventory;
  if (inventory === undefined)
    throw new Problem('unavailable', `it is not known how large host ${host} is; try again when it is connected`);
  await claimOnHost(tx.client, host, capacityOf(inventory), [{ ...claim, storageBytes: sizeBytes }]);
  // Not as a primary: it is no block storage of anybody's.
  await tx.ledger.intend({ resourceUid: uid, role: 'retained', facet: 'blockStorages', site, host, facts: { origin: source, sizeBytes } });
  const imageRef = { resource: urnFromAddress(image, from.address) };
  await show(
    tx,
    uid,
    { imageRef, phase: 'preparing', since: context.now().toISOString() },
    'Preparing',
    `image ${from.address.name} is brought to ${host}`,
  );
  await tx.nudge(resource.kind, uid);
}

/** Has the instance boot from its own boot volume again; may be repeated. Raises `conflict` when it is not in rescue. */
export async function endRescue(tx: StoreTransaction, { uid, kind, address }: Instance): Promise<void> {
  const rescue = (await tx.lock<InstanceSpec, InstanceStatus>(uid))?.status.rescue;
  if (rescue === undefined) throw new Problem('conflict', `instance ${address.name} is not in rescue`);
  if (rescue.phase === 'ending') return;
  const { power } = await instancePower(tx.client, uid);
  if (power === 'on' && rescue.phase !== 'preparing') await setInstancePower(tx.client, uid, 'on', true);
  await show(tx, uid, { ...rescue, phase: 'ending' }, 'Ending', 'it boots from its own boot volume again');
  await tx.nudge(kind, uid);
}

/** Raises `conflict` for an instance in rescue. */
export function assertNotInRescue({ address, status }: Pick<Instance, 'address' | 'status'>): void {
  if (status.rescue !== undefined)
    throw new Problem('conflict', `instance ${address.name} is in rescue; end that first: ${endText(address.name)}`);
}

/** The disk that the guest is to boot from at its next start. Brings it to the host, and restarts the guest once it is there. */
export async function rescueDisk(context: KindContext, resource: Instance, host: string): Promise<Handle | undefined> {
  const { uid, status } = resource;
  const phase = status.rescue?.phase;
  if (phase === undefined || phase === 'ending') return undefined;
  const found = await realizationOf(context.store, uid);
  if (found === undefined) throw new Problem('internal', `the rescue of instance ${resource.address.name} has lost its disk`);
  const { connection, blockStorages } = await facetAt(context, found.site);
  const { origin, sizeBytes } = found.facts as { readonly origin: VolumeSource; readonly sizeBytes: number };
  const handle = await realizedHandle(context, connection, blockStorages, found, () => ({
    sizeBytes,
    host,
    source: origin,
    settle: false,
  }));
  if (phase !== 'preparing') return handle;
  const seen = await blockStorages.observe(handle);
  if (seen.type === 'broken')
    throw new Problem(
      'conflict',
      `the disk to rescue it from cannot be made: ${seen.problem.message}; ${endText(resource.address.name)} gives up`,
    );
  if (seen.type !== 'present' || seen.status.state !== 'ready') return undefined;
  return await context.store.transaction(async (tx) => {
    const rescue = (await tx.lock<InstanceSpec, InstanceStatus>(uid))?.status.rescue;
    if (rescue?.phase !== 'preparing') return undefined;
    await setInstancePower(tx.client, uid, 'on', true);
    await show(tx, uid, { ...rescue, phase: 'starting' }, 'Starting', 'its guest is restarted');
    return handle;
  });
}

/** Says that the guest was seen in rescue, and takes its disk away once it was seen out of it. Answers whether something is still to come. */
export async function settleRescue(
  context: KindContext,
  { uid }: Pick<Instance, 'uid'>,
  seen: Observation<InstanceRealizationStatus>,
): Promise<boolean> {
  const rescue = (await context.store.getByUid<InstanceSpec, InstanceStatus>(uid))?.status.rescue;
  if (rescue === undefined) return false;
  const rescued = seen.type === 'present' || seen.type === 'changing' ? seen.status.rescued === true : undefined;
  if (rescue.phase === 'starting' && rescued === true && seen.type === 'present' && seen.status.activity === 'running') {
    await context.store.transaction(async (tx) => {
      const now = (await tx.lock<InstanceSpec, InstanceStatus>(uid))?.status.rescue;
      if (now?.phase === 'starting')
        await show(tx, uid, { ...now, phase: 'running' }, 'Running', 'its own block storages are beside what it booted from');
    });
    return false;
  }
  if (rescue.phase !== 'ending') return rescue.phase !== 'running';
  if (seen.type !== 'present' || rescued === undefined) return true;
  if (rescued) {
    await restartOnceMore(context, uid, seen.status.restarts);
    return true;
  }
  if ((await withdrawRescue(context, uid)) !== undefined) return true;
  await context.store.transaction(async (tx) => {
    if ((await tx.lock(uid)) !== undefined) await show(tx, uid, undefined, 'Ended', 'it has its own boot volume again');
  });
  return false;
}

/** A guest that did the restart that was to end its rescue, and is in rescue still: its host had forgotten how often it was restarted. */
async function restartOnceMore(context: KindContext, uid: Id<'resource'>, done: number | undefined): Promise<void> {
  await context.store.transaction(async (tx) => {
    if ((await tx.lock<InstanceSpec, InstanceStatus>(uid))?.status.rescue?.phase !== 'ending') return;
    const { power, restarts } = await instancePower(tx.client, uid);
    if (power === 'on' && done === restarts) await setInstancePower(tx.client, uid, 'on', true);
  });
}

/** Whether an instance is to boot from what rescues it, as it stands in its row. */
export function bootsFromRescue({ status }: Pick<Instance, 'status'>): boolean {
  return status.rescue?.phase === 'starting' || status.rescue?.phase === 'running';
}

/** Undefined when nothing is left at the host of what it booted from, else what it waits for. */
export async function withdrawRescue(context: KindContext, uid: Id<'resource'>): Promise<string | undefined> {
  const found = await realizationOf(context.store, uid);
  if (found === undefined) return undefined;
  const { connection, blockStorages } = await facetAt(context, found.site);
  const left = await withdrawn(context, connection, blockStorages, found);
  if (left !== undefined) return left.reason;
  await context.store.transaction(async (tx) => {
    await tx.ledger.forget(found.id);
    await tx.client.query(`update claim set storage_bytes = 0 where resource_uid = $1 and role = 'primary'`, [uid]);
  });
  return undefined;
}

async function realizationOf(reader: StoreReader, uid: Id<'resource'>): Promise<Realization | undefined> {
  return (await reader.ledger.ofResource(uid)).find(({ facet }) => facet === 'blockStorages');
}

async function facetAt(context: KindContext, site: string) {
  const connection = await context.sites.connectionOf(site);
  const { blockStorages } = connection;
  if (blockStorages === undefined) throw new Problem('unsupported', `site ${site} cannot hold block storages`);
  return { connection, blockStorages };
}

function sourceOf({ address: { name }, spec, state, status }: Image, architecture: string): VolumeSource {
  const sources = [{ pointer: '/imageRef' }];
  const { sha256, fileBytes, format } = status;
  if (state !== 'active' || sha256 === undefined || fileBytes === undefined || format === undefined)
    throw new Problem('conflict', `image ${name} is not ready (${state}); wait until it is active`, { sources });
  if (spec.cpuArchitecture !== architecture || (spec.boot ?? 'BIOS') !== 'BIOS')
    throw new Problem('validation', `image ${name} does not boot on ${architecture} with BIOS, as the instance does`, { sources });
  return { type: 'image', sha256, bytes: fileBytes, format };
}

async function show(
  tx: StoreTransaction,
  uid: Id<'resource'>,
  rescue: InstanceStatus['rescue'],
  reason: string,
  message: string,
): Promise<void> {
  await tx.setStatus(uid, { rescue }, { state: 'active', type: 'Rescue', reason, message });
}

function endText(name: string): string {
  return `virt8ra rescue ${name} --end`;
}
