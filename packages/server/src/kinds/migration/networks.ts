import type { InstanceSpec } from '@virt8ra/contract';
import type { StepContext } from '@virt8ra/engine';
import type { KindContext } from '../context.js';
import { partsOfInstance } from '../instance/index.js';
import { releaseNetworkOnHost } from '../network/index.js';
import { nicsForInstance } from '../nic/index.js';
import { releaseGroupsOnHost } from '../security-group/index.js';
import type { MovePlan, Place } from './plan.js';
import { call } from './site-facets.js';

/** Lets go of the instance's networks and security groups on a host that it is not on any more; those that others use there stay. */
export async function releaseNetworks(context: KindContext, step: StepContext, plan: MovePlan, at: Place): Promise<void> {
  const instance = await context.store.getByUid<InstanceSpec>(plan.instance.uid);
  if (instance === undefined) return;
  const { nicUids } = await partsOfInstance(context.store, instance);
  const uids = new Set((await nicsForInstance(context.store, nicUids)).map(({ networkUid }) => networkUid));
  for (const uid of uids) {
    await call(step, async () => await releaseGroupsOnHost(context, uid, at.host));
    await call(step, async () => await releaseNetworkOnHost(context, uid, at.host));
  }
}
