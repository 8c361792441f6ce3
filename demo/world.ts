import { type Client, type ResourceOf, rest } from '@virt8ra/client';
import {
  type Address,
  account,
  blockStorage,
  host,
  image,
  imageImport,
  instance,
  instanceSku,
  type Kind,
  migration,
  network,
  networkSku,
  nic,
  Problem,
  provider,
  site,
  storageSku,
  subnet,
  workspace,
} from '@virt8ra/contract';
import { gone, settled, type Waiting } from './settled.js';

/** Names of what the demo makes through the API. */
export const tenant = 'default';
export const workspaceName = 'tour';
export const guest: Address = { tenant, workspace: workspaceName, name: 'web' };
export const images = { system: 'demo-guest', data: 'demo-data' } as const;

const place = { tenant, workspace: workspaceName };

/** A place of the demo with its one host. */
export interface DemoSite {
  readonly name: string;
  readonly host: string;
  readonly tier: 'tower' | 'edge' | 'regional' | 'core';
  readonly country: string;
  readonly latitude: number;
  readonly longitude: number;
}

export const sites = [
  { name: 'tower-ljubljana', host: 'ljubljana-1', tier: 'tower', country: 'SI', latitude: 46.0569, longitude: 14.5058 },
  { name: 'edge-gdansk', host: 'gdansk-1', tier: 'edge', country: 'PL', latitude: 54.3718, longitude: 18.6166 },
  { name: 'core-logrono', host: 'logrono-1', tier: 'core', country: 'ES', latitude: 42.4627, longitude: -2.445 },
] as const satisfies readonly DemoSite[];

/** One provider with one account and its sites, each with one host. */
export async function describeSites(client: Client, places: readonly DemoSite[] = sites): Promise<void> {
  await client.put(provider, { name: 'demo' }, { spec: { displayName: 'This machine', legalSeat: 'ES' } });
  await client.put(account, { name: 'demo' }, { spec: { providerRef: 'providers/demo', driver: 'agent' } });
  for (const { name, tier, country, latitude, longitude, host: hostName } of places) {
    const coordinates = { latitude, longitude };
    await client.put(site, { name }, { spec: { accountRef: 'accounts/demo', country, tier, coordinates, jurisdiction: 'EU' } });
    await client.put(host, { name: hostName }, { spec: { siteRef: `sites/${name}` } });
  }
}

/** All hosts linked and all sites with free capacity. */
export async function sitesAreReady(client: Client, waiting: Waiting, places: readonly DemoSite[] = sites): Promise<void> {
  for (const { name, host: hostName } of places) {
    await settled(client, host, { name: hostName }, ({ status }) => status?.connected?.value === true, {
      ...waiting,
      what: `host ${hostName} is linked`,
    });
    await settled(client, site, { name }, ({ status }) => (status?.capacity?.vCPUFree ?? 0) > 0, {
      ...waiting,
      what: `site ${name} knows its capacity`,
    });
  }
}

/** Writes the guest, its disks and its network, which takes the addresses that begin with `range`; the control plane does the rest. */
export async function describeGuest(client: Client, range = '10.76'): Promise<void> {
  const [size, disk, link] = await Promise.all([
    smallest(client, instanceSku, ({ spec }) => spec.ram * 100 + spec.vCPU),
    smallest(client, storageSku, ({ spec }) => spec.minVolumeSize * 100_000 + spec.iops),
    smallest(client, networkSku, ({ spec }) => spec.bandwidth),
  ]);
  await client.put(network, { ...place, name: 'net' }, { spec: { cidr: { ipv4: `${range}.0.0/16` }, skuRef: `skus/${link}` } });
  await client.put(subnet, { ...place, network: 'net', name: 'all' }, { spec: { cidr: { ipv4: `${range}.1.0/24` } } });
  await client.put(nic, { ...place, name: 'web' }, { spec: { addresses: ['0.0.0.0'], subnetRef: 'networks/net/subnets/all' } });
  const storage = { skuRef: `skus/${disk}`, sizeGB: 1 };
  await client.put(blockStorage, { ...place, name: 'web-system' }, { spec: { ...storage, sourceImageRef: `images/${images.system}` } });
  await client.put(blockStorage, { ...place, name: 'web-data' }, { spec: { ...storage, sourceImageRef: `images/${images.data}` } });
  await client.put(instance, guest, {
    extensions: { 'virt8ra.power': 'on', 'virt8ra.access': '80' },
    spec: {
      zone: 'any',
      skuRef: `skus/${size}`,
      bootVolume: { deviceRef: 'block-storages/web-system' },
      dataVolumes: [{ deviceRef: 'block-storages/web-data' }],
      primaryNicRef: 'nics/web',
      userData: '#cloud-config\nhostname: web\n',
    },
  });
}

export async function makeWorkspace(client: Client, waiting: Waiting): Promise<void> {
  await client.put(workspace, { tenant, name: workspaceName }, { spec: {} });
  await settled(client, workspace, { tenant, name: workspaceName }, ({ status }) => status?.state === 'active', {
    ...waiting,
    what: 'the workspace is active',
  });
}

/** The one URL of the guest's page: the access endpoint that follows it. */
export async function guestUrl(client: Client, waiting: Waiting): Promise<string> {
  const what = 'the guest has an access endpoint';
  const { status } = await settled(client, instance, guest, (seen) => accessOf(seen.status) !== undefined, { ...waiting, what });
  return `http://${accessOf(status)}`;
}

/** The guest's page at its own address, which its neighbours in its network reach. */
export async function pageInNetwork(client: Client, waiting: Waiting): Promise<string> {
  const what = 'the NIC has an address';
  const { status } = await settled(client, nic, { ...place, name: 'web' }, (seen) => (seen.status?.addresses?.length ?? 0) > 0, {
    ...waiting,
    what,
  });
  return `http://${status?.addresses?.[0]}`;
}

/** Deletes in the order in which things need each other, whatever of it is there, and waits until all is gone. */
export async function deleteGuest(client: Client, waiting: Waiting): Promise<void> {
  const away = async (kind: Kind, address: Address) => {
    if (await client.delete(kind, address)) await gone(client, kind, address, waiting);
  };
  if ((await client.find(workspace, { tenant, name: workspaceName })) === undefined) return;
  for await (const { metadata } of client.list(migration, place)) {
    const address = { ...place, name: metadata.name };
    await overWith(client, address, waiting);
    await away(migration, address);
  }
  await away(instance, guest);
  await Promise.all(['web-data', 'web-system'].map(async (name) => await away(blockStorage, { ...place, name })));
  await away(nic, { ...place, name: 'web' });
  await away(subnet, { ...place, network: 'net', name: 'all' });
  await away(network, { ...place, name: 'net' });
  for (const name of Object.values(images)) {
    await away(image, { tenant, name });
    await away(imageImport, { tenant, name });
  }
  await away(workspace, { tenant, name: workspaceName });
}

const overPhases: ReadonlySet<string> = new Set(['done', 'brought-back', 'failed', 'returned']);

/** A move that goes on is brought back, or awaited when it is too late for that, and one that keeps a way back gives it up: until then its guest has two places. */
async function overWith(client: Client, address: Address, { signal, withinSeconds = 90 }: Waiting): Promise<void> {
  const deadline = performance.now() + withinSeconds * 1000;
  let asked: string | undefined;
  for (;;) {
    const phase = (await client.find(migration, address, signal))?.status?.phase;
    if (phase === undefined || overPhases.has(phase) || performance.now() > deadline) return;
    const wanted = phase === 'kept' ? 'release' : 'cancel';
    if (asked !== wanted) await client.act(migration, address, wanted).catch(() => undefined);
    asked = wanted;
    await rest(200, signal);
  }
}

function accessOf(status: ResourceOf<typeof instance>['status']): string | undefined {
  return status?.access?.find(({ port }) => port === 80)?.address;
}

async function smallest<K extends Kind>(client: Client, kind: K, size: (resource: ResourceOf<K>) => number): Promise<string> {
  let best: ResourceOf<K> | undefined;
  for await (const sku of client.list(kind, { tenant })) if (best === undefined || size(sku) < size(best)) best = sku;
  if (best === undefined) throw new Problem('internal', `the catalogue has no ${kind.kind}`);
  return best.metadata.name;
}
