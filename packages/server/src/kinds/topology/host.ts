import { type HostInventory, type HostSpec, host, type Observed, Problem, site } from '@virt8ra/contract';
import type { Fleet } from '../../fleet/fleet.js';
import type { StoreReader, StoreTransaction } from '../../resources/store.js';
import type { StoredResource } from '../../resources/stored-resource.js';
import type { KindBehaviour } from '../behaviour.js';

export interface HostResourceStatus {
  connected?: Observed<boolean>;
  cordoned?: boolean;
  agentVersion?: string;
  inventory?: HostInventory;
  instances?: number;
}

/** Host: a machine with our agent. It goes only when nothing is realized on it, and its agent is shut out then. */
export function createHostBehaviour(
  fleet: Pick<Fleet, 'createEnrolment' | 'hostStatus' | 'removeHost'>,
  now: () => Date,
): KindBehaviour<HostSpec, HostResourceStatus> {
  return {
    kind: host,
    async admitPut(tx, { next }) {
      const { reference } = await tx.resolve(site, next.spec.siteRef, {}, '/spec/siteRef');
      return { references: [reference], outcome: 'active' };
    },
    async admitDelete(tx, { uid, address }) {
      const here = (await tx.ledger.atSite(await siteOf(tx, uid))).filter(({ host: on }) => on === address.name);
      if (here.length > 0) {
        throw new Problem('conflict', `${here.length} objects are still realized on host ${address.name}; move or delete them first`);
      }
      await fleet.removeHost(address.name, { client: tx.client });
    },
    actions: {
      async enrol(tx, { uid, address }) {
        return await fleet.createEnrolment(address.name, await siteOf(tx, uid), tx.client);
      },
      async cordon(tx, { uid }) {
        await tx.setStatus(uid, { cordoned: true });
      },
      async uncordon(tx, { uid }) {
        await tx.setStatus(uid, { cordoned: undefined });
      },
    },
    present: async (reader, resources) => await presentHosts(fleet, now, reader, resources),
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
      realized.filter(({ facet, host: on }) => facet === 'instances' && on === address.name).map(({ resourceUid }) => resourceUid),
    ).size;
    const status = seen.get(address.name);
    if (status === undefined) return { instances };
    const { connected, heardAt, agentVersion, inventory } = status;
    return {
      instances,
      // What the control plane knows now while it hears the host; else, since when it does not.
      connected: { value: connected, source: `agent/${address.name}`, observedAt: heardAt ?? now().toISOString() },
      ...(agentVersion === undefined ? {} : { agentVersion }),
      ...(inventory === undefined ? {} : { inventory }),
    };
  });
}

/** Name of the site a host stands at, by its stored reference. */
async function siteOf(tx: StoreTransaction, uid: StoredResource['uid']): Promise<string> {
  const references = await tx.referencesOf(uid);
  const [found] = await tx.getManyByUid(references.filter(({ pointer }) => pointer === '/spec/siteRef').map((each) => each.uid));
  if (found === undefined) throw new Problem('conflict', 'the site of this host is gone');
  return found.address.name;
}
