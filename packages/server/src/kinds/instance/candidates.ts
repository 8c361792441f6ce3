import { type HostInventory, type HostSpec, host as hostKind, type InstanceSpec, Problem, site as siteKind } from '@virt8ra/contract';
import { claimedOn } from '../../capacity/claims.js';
import type { DeviceOffer } from '../../placement/devices.js';
import {
  type Candidate,
  type Claimed,
  explainRefusals,
  type HostCapacity,
  type Requirement,
  rankCandidates,
  type Verdict,
} from '../../placement/placement.js';
import type { StoreTransaction } from '../../resources/store.js';
import type { StoredResource } from '../../resources/stored-resource.js';
import type { KindContext } from '../context.js';
import { readApart } from './anti-affinity.js';
import { networkingNeeds } from './networking.js';
import type { InstanceParts } from './parts.js';
import { roomOf } from './size.js';

/** Machine names of kernels (`uname -m`) in SECA's words. */
const architectures: Readonly<Record<string, string>> = { x86_64: 'amd64', aarch64: 'arm64', x64: 'amd64' };

/** Every site's name, in pages. */
export async function siteNames(context: KindContext): Promise<readonly string[]> {
  const names: string[] = [];
  let after: string | undefined;
  do {
    const page = await context.store.list(siteKind, {}, { selector: [], limit: 1000, after });
    names.push(...page.items.filter(({ deletedAt }) => deletedAt === undefined).map(({ address }) => address.name));
    after = page.next;
  } while (after !== undefined);
  return names;
}

/** The hosts of `sites` with what is claimed on them. A site that cannot be asked contributes nothing. */
export async function hostCandidates(context: KindContext, sites: readonly string[]): Promise<readonly Candidate[]> {
  const found = await Promise.all(
    sites.map(async (site) => {
      try {
        const connection = await context.sites.connectionOf(site);
        const hosts = (await connection.hosts?.list()) ?? [];
        return hosts.map((seen) => ({ site, seen, firmwares: connection.capabilities.firmwares }));
      } catch (error) {
        context.log.warn('a site cannot be asked for its hosts', { site, error });
        return [];
      }
    }),
  );
  const hosts = found.flat();
  const names = hosts.map(({ seen }) => seen.host);
  const claimed = await context.store.transaction(async (tx) => await claimedOn(tx.client, names));
  const cordons = await cordonsOf(context, names);
  return hosts.map(({ site, seen, firmwares }) => ({
    site,
    host: seen.host,
    connected: seen.connected && seen.inventory !== undefined,
    cordon: cordons.get(seen.host),
    architecture: architectures[seen.inventory?.architecture ?? ''] ?? seen.inventory?.architecture ?? 'unknown',
    firmwares,
    networking: seen.networking,
    capacity: capacityOf(seen.inventory),
    claimed: claimed.get(seen.host) ?? nothing,
  }));
}

const nothing: Claimed = { vCPU: 0, memoryMiB: 0, storageBytes: 0 };

export function capacityOf(inventory: HostInventory | undefined): HostCapacity {
  return { ...(inventory?.capacity ?? nothing), devices: devicesOf(inventory) };
}

/** The PCI devices that guests of a host may have, or have, by id; a host that says nothing has none. */
export function devicesOf(inventory: Pick<HostInventory, 'pci'> | undefined): readonly DeviceOffer[] {
  const found = new Map<string, DeviceOffer>();
  for (const { id, name, gpu, state } of inventory?.pci?.devices ?? []) {
    if (state !== 'offered' && state !== 'held') continue;
    const known = found.get(id);
    found.set(id, { id, name: known?.name ?? name, gpu: known?.gpu ?? gpu, count: (known?.count ?? 0) + 1 });
  }
  return [...found.values()];
}

interface Cordon {
  readonly cordoned?: boolean;
  readonly cordonReason?: string;
}

/** Why hosts take nothing new, by name; the empty text when nobody said. */
async function cordonsOf(context: KindContext, names: readonly string[]): Promise<ReadonlyMap<string, string>> {
  const hosts = await Promise.all(names.map(async (name) => await context.store.get<HostSpec, Cordon>(hostKind, { name })));
  return new Map(
    hosts.flatMap((host) => (host?.status.cordoned === true ? [[host.address.name, host.status.cordonReason ?? ''] as const] : [])),
  );
}

/** Raises `unavailable` when the host was cordoned since it was ranked; it cannot be before the transaction has ended. */
export async function assertOpenHost(tx: StoreTransaction, name: string): Promise<void> {
  const host = await tx.share<HostSpec, Cordon>(hostKind, { name });
  if (host?.status.cordoned === true)
    throw new Problem('unavailable', `host ${name} was cordoned a moment ago; looking for another`, { retryAfterSeconds: 1 });
}

/** `pinned`: the host that block storages of it live on already, and how much of its claim they hold there. */
export interface Pin {
  readonly host: string;
  readonly storageBytes: number;
}

export function requirementOf(
  parts: InstanceParts,
  zone: string,
  pinned: Pin | undefined,
  { networking, apart }: Pick<Requirement, 'networking' | 'apart'>,
): Requirement {
  return {
    zone,
    architecture: parts.architecture,
    firmware: parts.firmware,
    networking,
    apart,
    ...roomOf(parts.size),
    ...(parts.size.devices === undefined ? {} : { devices: parts.size.devices }),
    storageBytes: parts.storageBytes - (pinned?.storageBytes ?? 0),
    ...(pinned === undefined ? {} : { host: pinned.host }),
  };
}

/** Where an instance may go, best first, and in one sentence why nothing fits. */
export async function placementFor(
  context: KindContext,
  resource: StoredResource<InstanceSpec>,
  parts: InstanceParts,
  zone: string,
  pinned: Pin | undefined,
): Promise<{ readonly best: Verdict | undefined; readonly capacity: HostCapacity; readonly refusal: string }> {
  const sites = zone === 'any' ? await siteNames(context) : [zone];
  const candidates = await hostCandidates(context, sites);
  const networking = await networkingNeeds(context.store, resource, parts.nicUids, zone);
  const apart = await readApart(context.store, resource);
  const verdicts = rankCandidates(candidates, requirementOf(parts, zone, pinned, { networking, apart }));
  const best = verdicts[0]?.fits === true ? verdicts[0] : undefined;
  const chosen = candidates.find(({ host }) => host === best?.host);
  context.log.debug('placement was asked', { instance: resource.uid, zone, best: best?.host });
  return { best, capacity: chosen?.capacity ?? nothing, refusal: explainRefusals(verdicts) };
}
