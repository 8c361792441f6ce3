import { type BlockStorageSpec, blockStorage, instance, Problem, referenceTo } from '@virt8ra/contract';
import type { InstanceRealizationStatus } from '@virt8ra/driver';
import type { StoreTransaction } from '../../resources/store.js';
import type { StoredResource } from '../../resources/stored-resource.js';
import { type BlockStorageStatus, blockStorageBytes } from '../block-storage/index.js';
import type { KindContext } from '../context.js';
import { assertNotReverting } from '../snapshotted.js';
import { claimStorage } from '../storage-claim.js';
import type { AttachedVolume, InstanceStatus } from './status.js';

/**
 * Data volumes that an instance is to have from now on. One that is at no host yet gets its room at the instance's host at once. Raises `conflict`
 * for one that is elsewhere, naming what brings both together, and `exhausted` when the host has no room.
 */
export async function admitDataVolumes(
  context: KindContext,
  tx: StoreTransaction,
  held: StoredResource<unknown, InstanceStatus>,
  volumes: readonly StoredResource<BlockStorageSpec, BlockStorageStatus>[],
): Promise<void> {
  await assertNotReverting(
    tx,
    volumes.map(({ uid }) => uid),
  );
  const { placement } = held.status;
  if (placement?.host === undefined) return;
  const { site, host } = placement;
  for (const [index, { uid, address, spec, status }] of volumes.entries()) {
    const at = status.placement;
    const sources = [{ pointer: `/spec/dataVolumes/${index}/deviceRef` }];
    if (at !== undefined && at.site !== site) {
      throw new Problem(
        'conflict',
        `block storage ${address.name} is at ${at.site} and instance ${held.address.name} at ${site}; bring the instance there with: virt8ra migrate ${held.address.name} --to ${at.site}`,
        { sources },
      );
    }
    if (at?.host !== undefined && at.host !== host) {
      throw new Problem(
        'conflict',
        `block storage ${address.name} is on host ${at.host} and instance ${held.address.name} on host ${host} of ${site}; hosts share no disks`,
        { sources },
      );
    }
    if (at?.host === undefined) await claimStorage(context, tx, uid, { site, host }, blockStorageBytes(spec.sizeGB));
  }
}

/** The disks of a guest by the block storages they are; undefined when the site does not tell. */
export async function attachedVolumes(
  tx: StoreTransaction,
  disks: InstanceRealizationStatus['disks'],
): Promise<readonly AttachedVolume[] | undefined> {
  if (disks === undefined) return undefined;
  const volumes: AttachedVolume[] = [];
  for (const { key, state, reason, limits } of disks) {
    const realization = await tx.ledger.byKey(key);
    const resource = realization === undefined ? undefined : await tx.getByUid(realization.resourceUid);
    if (resource === undefined) continue;
    volumes.push({ deviceRef: referenceTo(blockStorage, resource.address), state, ...(reason === undefined ? {} : { reason }), ...limits });
  }
  return volumes;
}

/** What keeps a guest from having the disks it should have, in words; undefined when nothing does. */
export function diskTrouble(volumes: readonly AttachedVolume[] | undefined): string | undefined {
  const stuck = volumes?.find(({ state, reason }) => state !== 'attached' && reason !== undefined);
  if (stuck === undefined) return undefined;
  return `${stuck.deviceRef.resource.split('/').at(-1)} is ${stuck.state}: ${stuck.reason}`;
}

/** Raises `conflict` while a guest has not the disks it should have. */
export function assertDisksSettled({ kind, address, status }: StoredResource<unknown, InstanceStatus>): void {
  const moving = status.volumes?.find(({ state }) => state !== 'attached');
  if (moving === undefined || kind !== instance.kind) return;
  throw new Problem(
    'conflict',
    `instance ${address.name} is ${moving.state} block storage ${moving.deviceRef.resource.split('/').at(-1)}; wait until that is done, or stop the instance`,
  );
}
