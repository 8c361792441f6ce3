import type { InstanceSpec, Placement } from '@virt8ra/contract';
import { claimOnHost } from '../../capacity/claims.js';
import type { Realization } from '../../resources/ledger-types.js';
import type { StoredResource } from '../../resources/stored-resource.js';
import { blockStorageBytes } from '../block-storage/index.js';
import type { KindContext } from '../context.js';
import { initialPower } from './admit.js';
import { assertApart } from './anti-affinity.js';
import { assertOpenHost, placementFor } from './candidates.js';
import { publicIpsOfInstance } from './networking.js';
import type { InstanceParts } from './parts.js';
import { grantPermit } from './permits.js';
import { beginInstancePower } from './power.js';
import { roomOf } from './size.js';
import type { InstanceStatus } from './status.js';

/**
 * Chooses a host and, in one transaction, claims its capacity, grants the first run permit and writes the intent. Answers why nothing
 * fits when nothing does. A claim that lost a race raises `exhausted`, and the caller tries again.
 */
export async function placeInstance(
  context: KindContext,
  resource: StoredResource<InstanceSpec, InstanceStatus>,
  parts: InstanceParts,
): Promise<{ readonly realization: Realization } | { readonly refusal: string }> {
  const placed = parts.volumes.flatMap(({ spec, status }) => {
    const { placement } = status as { placement?: Placement };
    return placement === undefined ? [] : [{ ...placement, storageBytes: blockStorageBytes(spec.sizeGB) }];
  });
  const [first] = placed;
  const [publicIp] = await publicIpsOfInstance(context.store, parts.nicUids);
  const bound = first?.site ?? publicIp?.site;
  const zone = resource.spec.zone === 'any' && bound !== undefined ? bound : resource.spec.zone;
  const host = placed.find((each) => each.host !== undefined)?.host;
  const storageBytes = placed.filter((each) => each.host === host).reduce((sum, each) => sum + each.storageBytes, 0);
  const pinned = host === undefined ? undefined : { host, storageBytes };
  const { best, capacity, refusal } = await placementFor(context, resource, parts, zone, pinned);
  if (best === undefined) return { refusal };
  const realization = await context.store.transaction(async (tx) => {
    const current = await tx.lock<InstanceSpec, InstanceStatus>(resource.uid);
    if (current === undefined || current.deletedAt !== undefined) return undefined;
    const already = (await tx.ledger.ofResource(resource.uid)).find(({ role }) => role === 'primary');
    if (already !== undefined) return already;
    await assertApart(tx, current, best.host);
    await assertOpenHost(tx, best.host);
    await claimOnHost(tx.client, best.host, capacity, [
      {
        resourceUid: resource.uid,
        role: 'primary',
        site: best.site,
        host: best.host,
        ...roomOf(parts.size),
        storageBytes: 0,
        devices: best.devices ?? [],
      },
      ...parts.volumes.map((volume) => ({
        resourceUid: volume.uid,
        role: 'primary' as const,
        site: best.site,
        host: best.host,
        vCPU: 0,
        memoryMiB: 0,
        storageBytes: blockStorageBytes(volume.spec.sizeGB),
      })),
    ]);
    await beginInstancePower(tx.client, resource.uid, initialPower(resource.extensions));
    await grantPermit(tx.client, { instanceUid: resource.uid, holder: best.host });
    const made = await tx.ledger.intend({
      resourceUid: resource.uid,
      role: 'primary',
      facet: 'instances',
      site: best.site,
      host: best.host,
    });
    const placement: Placement = {
      site: best.site,
      host: best.host,
      cause: resource.spec.zone === 'any' ? 'placement' : 'requested',
      reason: best.reason,
      revision: 1,
    };
    await tx.setStatus(
      resource.uid,
      { placement },
      { state: 'creating', type: 'Placed', reason: 'Placed', message: `${best.site}/${best.host}: ${best.reason}` },
    );
    return made;
  });
  return realization === undefined ? { refusal: 'it is being deleted' } : { realization };
}
