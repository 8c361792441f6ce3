import { type HostSpec, host, Problem, site } from '@virt8ra/contract';
import type { Workflow } from '@virt8ra/engine';
import type { Fleet } from '../../fleet/fleet.js';
import type { StoreReader } from '../../resources/store.js';
import type { StoredResource } from '../../resources/stored-resource.js';
import type { KindBehaviour } from '../behaviour.js';
import type { KindContext } from '../context.js';
import { assertWindowClosed, waysBackTo } from '../moving.js';
import type { DrainInput } from './drain/index.js';
import { assertNotDraining, createHostActions } from './host-actions.js';
import { findingsOf } from './host-findings.js';
import type { HostResourceStatus } from './host-status.js';
import { updateOf } from './host-update.js';

/** Host: a machine with our agent. It goes only when nothing is realized on it, and its agent is shut out then. */
export function createHostBehaviour(
  fleet: Pick<Fleet, 'createEnrolment' | 'hostStatus' | 'orderRelease' | 'removeHost' | 'rotateTunnelKey' | 'setMaintenance'>,
  context: KindContext,
  drain: Workflow<DrainInput, unknown>,
): KindBehaviour<HostSpec, HostResourceStatus> {
  return {
    kind: host,
    async admitPut(tx, { next }) {
      const { reference } = await tx.resolve(site, next.spec.siteRef, {}, '/spec/siteRef');
      return { references: [reference], outcome: 'active' };
    },
    async admitDelete(tx, resource) {
      const { name } = resource.address;
      assertNotDraining(resource);
      for (const move of await waysBackTo(tx, name)) assertWindowClosed(move, 'delete the host');
      const here = await tx.ledger.onHost(name);
      if (here.length > 0)
        throw new Problem('conflict', `${here.length} objects are still realized on host ${name}; move or delete them first`);
      await fleet.removeHost(name, { client: tx.client });
    },
    actions: createHostActions(fleet, context, drain),
    present: async (reader, resources) => await presentHosts(fleet, context.now, reader, resources),
  };
}

async function presentHosts(
  fleet: Pick<Fleet, 'hostStatus'>,
  now: () => Date,
  reader: StoreReader,
  resources: readonly StoredResource<HostSpec, HostResourceStatus>[],
): Promise<readonly Partial<HostResourceStatus>[]> {
  const seen = new Map((await fleet.hostStatus(resources.map(({ address }) => address.name))).map((each) => [each.host, each]));
  const sites = new Set([...seen.values()].map((each) => each.site));
  const realized = (await Promise.all([...sites].map(async (name) => await reader.ledger.atSite(name)))).flat();
  return resources.map(({ address }) => {
    const instances = new Set(
      realized
        // What a move, or a way back, only intends there is not there.
        .filter(
          ({ facet, host: on, role, state }) =>
            facet === 'instances' && on === address.name && !(role === 'incoming' && state === 'intended'),
        )
        .map(({ resourceUid }) => resourceUid),
    ).size;
    const status = seen.get(address.name);
    if (status === undefined) return { instances };
    const { connected, heardAt, agentVersion, inventory, maintenance, observedAt } = status;
    return {
      instances,
      // What the control plane knows now while it hears the host; else, since when it does not.
      connected: { value: connected, source: `agent/${address.name}`, observedAt: heardAt ?? now().toISOString() },
      ...(maintenance || inventory?.maintenance === true
        ? {
            maintenance: {
              value: inventory?.maintenance === true,
              source: `agent/${address.name}`,
              observedAt: observedAt ?? now().toISOString(),
            },
          }
        : {}),
      ...(agentVersion === undefined ? {} : { agentVersion }),
      ...updateOf(status),
      ...(inventory === undefined ? {} : { inventory, findings: findingsOf(status) }),
    };
  });
}
