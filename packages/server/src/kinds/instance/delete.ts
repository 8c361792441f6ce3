import { type InstanceSpec, network, securityGroup } from '@virt8ra/contract';
import type { Outcome } from '@virt8ra/engine';
import { releaseClaim } from '../../capacity/claims.js';
import type { Realization } from '../../resources/ledger-types.js';
import type { StoredResource } from '../../resources/stored-resource.js';
import type { KindContext } from '../context.js';
import { releaseNetworkOnHost } from '../network/index.js';
import { nicsForInstance } from '../nic/index.js';
import { releaseGroupsOnHost } from '../security-group/index.js';
import { wakeGroup } from './anti-affinity.js';
import type { InstanceContext } from './instance-context.js';
import { instancesFacet } from './instances-facet.js';
import { instanceGroup } from './networking.js';
import { partsOfInstance } from './parts.js';
import { forgetPermit } from './permits.js';
import { forgetInstancePower } from './power.js';
import { withdrawRescue } from './rescue.js';
import type { InstanceStatus } from './status.js';

const lookAgainSeconds = 2;

/** Takes an instance away everywhere, then its networks and security groups where it was the last, then its row. Block storages and NICs stay. */
export async function deleteInstance(context: InstanceContext, resource: StoredResource<InstanceSpec, InstanceStatus>): Promise<Outcome> {
  const realizations = (await context.store.ledger.ofResource(resource.uid)).filter(({ facet }) => facet === 'instances');
  for (const realization of realizations) {
    const left = await removeRealization(context, realization);
    if (left !== undefined) {
      await context.store.transaction(async (tx) => {
        await tx.setStatus(resource.uid, {}, { state: 'deleting', type: 'Removed', reason: 'Waiting', message: left });
      });
      return { waitSeconds: lookAgainSeconds, reason: left };
    }
  }
  const rescue = await withdrawRescue(context, resource.uid);
  if (rescue !== undefined) return { waitSeconds: lookAgainSeconds, reason: rescue };
  await context.access.remove(resource.uid);
  const { nicUids } = await partsOfInstance(context.store, resource);
  const group = await instanceGroup(context.store, resource.uid);
  const networks = new Set((await nicsForInstance(context.store, nicUids)).map(({ networkUid }) => networkUid));
  const hosts = new Set(realizations.flatMap(({ host }) => (host === undefined ? [] : [host])));
  await context.store.transaction(async (tx) => {
    for (const { id } of realizations) await tx.ledger.forget(id);
    await releaseClaim(tx.client, resource.uid, 'primary');
    await releaseClaim(tx.client, resource.uid, 'incoming');
    await forgetPermit(tx.client, resource.uid);
    await forgetInstancePower(tx.client, resource.uid);
    // Whoever knows it by name or as a member of its group is to forget it.
    for (const uid of networks) await tx.nudge(network.kind, uid);
    if (group !== undefined) await tx.nudge(securityGroup.kind, group);
    await wakeGroup(tx, resource);
    await tx.remove(resource.uid);
  });
  for (const uid of networks) {
    for (const host of hosts) {
      await releaseGroupsOnHost(context, uid, host);
      await releaseNetworkOnHost(context, uid, host);
    }
  }
  return { gone: true };
}

/** What it still waits for, or undefined when it is positively gone. */
async function removeRealization(context: KindContext, realization: Realization): Promise<string | undefined> {
  const facet = await instancesFacet(context, realization.site);
  const handle = realization.handle ?? (await facet.find(realization.key));
  if (handle === undefined) return undefined;
  if (realization.state !== 'removing') await context.store.transaction(async (tx) => await tx.ledger.setRemoving(realization.id));
  await facet.remove(handle);
  const seen = await facet.observe(handle);
  if (seen.type === 'absent') return undefined;
  return seen.type === 'unknown' ? `${realization.site} does not answer: ${seen.reason}` : `${realization.site} is still removing it`;
}
