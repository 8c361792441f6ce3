import type { InstanceSpec } from '@virt8ra/contract';
import type { HostObservation, InstanceRealizationStatus } from '@virt8ra/driver';
import type { Realization } from '../../resources/ledger-types.js';
import type { StoredResource } from '../../resources/stored-resource.js';
import type { KindContext } from '../context.js';
import type { InstanceStatus } from '../instance/index.js';
import { type LiveQuestion, liveFault } from './live-fault.js';
import type { Place } from './plan.js';

/** Why an instance cannot be moved live to a place, in words that follow "because"; undefined when it can. */
export type LiveOutlook = (to: Place) => Promise<string | undefined>;

/** What a guest began as: as its site sees it now, else as it was recorded. */
export function startedAs(
  { facts }: Pick<Realization, 'facts'>,
  { machine, cpuModel, accelerator, pciDevices }: Partial<InstanceRealizationStatus>,
): LiveQuestion['status'] {
  const known = { machine: machine ?? textOf(facts['machine']), cpuModel: cpuModel ?? textOf(facts['cpuModel']), accelerator, pciDevices };
  return Object.fromEntries(Object.entries(known).filter(([, value]) => value !== undefined));
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined;
}

export async function hostsAt(context: KindContext, sites: readonly string[]): Promise<readonly HostObservation[]> {
  const lists = await Promise.all([...new Set(sites)].map(async (site) => await (await context.sites.connectionOf(site)).hosts?.list()));
  return lists.flatMap((list) => list ?? []);
}

/** For an instance that runs. What a site does not tell is asked once. */
export async function liveOutlookOf(
  context: KindContext,
  { uid }: Pick<StoredResource<InstanceSpec, InstanceStatus>, 'uid'>,
  parts: LiveQuestion['parts'],
  from: Place,
): Promise<LiveOutlook> {
  const { instances } = await context.sites.connectionOf(from.site);
  const primary = (await context.store.ledger.ofResource(uid)).find(({ facet, role }) => facet === 'instances' && role === 'primary');
  if (instances === undefined || primary?.handle === undefined) return async () => 'it was not made at its site yet';
  const seen = await instances.observe(primary.handle);
  const status = startedAs(primary, 'status' in seen && seen.status !== undefined ? seen.status : {});
  return async (to) => {
    const hosts = await hostsAt(context, [from.site, to.site]);
    const at = (name: string): HostObservation | undefined => hosts.find(({ host }) => host === name);
    return liveFault({ parts, status, source: at(from.host), target: at(to.host) });
  };
}
