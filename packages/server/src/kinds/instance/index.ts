/** Instance: placed once, then kept as its owner wants it where it is. Moving it is the migration kind's work. */
import { type InstanceSpec, instance, Problem, type RescueRequest, routeTable } from '@virt8ra/contract';
import type { KindBehaviour } from '../behaviour.js';
import { assertNoWayBack } from '../moving.js';
import { namesOfUsers } from '../users.js';
import { actOnPower, admitInstance, initialPower } from './admit.js';
import { antiAffinityMigrations } from './anti-affinity.js';
import type { InstanceContext } from './instance-context.js';
import { addressesOfInstance } from './parts.js';
import { permitMigrations } from './permits.js';
import { instancePower, powerMigrations } from './power.js';
import { reconcileInstance } from './reconcile.js';
import { askForRescue, endRescue } from './rescue.js';
import type { InstanceStatus } from './status.js';

export { accessTarget } from './access.js';
export { assertApart, readApart, sharesHost } from './anti-affinity.js';
export { assertOpenHost, devicesOf, hostCandidates, placementFor, requirementOf, siteNames } from './candidates.js';
export { assertDisksSettled } from './data-volumes.js';
export type { InstanceContext } from './instance-context.js';
export { instanceGroup, networkingNeeds, publicIpsOfInstance } from './networking.js';
export { type InstanceParts, partsOfInstance } from './parts.js';
export { currentPermit, grantPermit, promisePermit, recordSurrender } from './permits.js';
export { instancePower, setInstancePower } from './power.js';
export { assertNotInRescue } from './rescue.js';
export { roomOf } from './size.js';
export { accessPorts, type RealizationOverrides, realizationSpecOf } from './specification.js';
export type { InstanceStatus } from './status.js';
export { openInstanceStream } from './stream.js';

export const instanceMigrations = [...permitMigrations, ...powerMigrations, ...antiAffinityMigrations];

export function createInstanceBehaviour(context: InstanceContext): KindBehaviour<InstanceSpec, InstanceStatus> {
  const act = (action: 'start' | 'stop' | 'restart') =>
    (async (tx, resource) => {
      const runs = await context.runner.list({ subject: `${resource.kind}/${resource.uid}`, live: true });
      if (runs.length > 0) throw new Problem('conflict', `instance ${resource.address.name} is being moved; ${action} it afterwards`);
      const wanted =
        resource.status.placement === undefined ? initialPower(resource.extensions) : (await instancePower(tx.client, resource.uid)).power;
      await actOnPower(tx, resource, action, wanted);
    }) satisfies NonNullable<KindBehaviour<InstanceSpec, InstanceStatus>['actions']>[string];
  return {
    kind: instance,
    admitPut: async (tx, request) => await admitInstance(context, tx, request),
    async admitDelete(tx, resource) {
      const tables = await tx.usersOf(resource.uid, routeTable);
      if (tables.length > 0)
        throw new Problem(
          'conflict',
          `instance ${resource.address.name} is used by ${namesOfUsers(tables)}; take it out of their routes first`,
        );
      const runs = await context.runner.list({ subject: `${resource.kind}/${resource.uid}`, live: true });
      if (runs.length > 0) throw new Problem('conflict', `instance ${resource.address.name} is being moved; cancel the migration first`);
      await assertNoWayBack(tx, resource.uid, 'delete the instance');
    },
    actions: {
      rescue: async (tx, resource, _subject, body) => await askForRescue(context, tx, resource, body as RescueRequest),
      'end-rescue': async (tx, resource) => await endRescue(tx, resource),
      start: act('start'),
      stop: act('stop'),
      restart: act('restart'),
    },
    reconcile: async (resource) => await reconcileInstance(context, resource),
    async present(reader, resources) {
      const [access, addresses] = await Promise.all([
        context.access.addressesOf(resources.map(({ uid }) => uid)),
        Promise.all(resources.map(async (resource) => await addressesOfInstance(reader, resource))),
      ]);
      return resources.map(({ uid }, index) => ({ addresses: [...(addresses[index] ?? [])], access: [...(access.get(uid) ?? [])] }));
    },
  };
}
