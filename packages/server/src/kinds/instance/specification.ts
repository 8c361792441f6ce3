import type { Id, InstanceSpec, Permit, SiteSpec } from '@virt8ra/contract';
import { Problem, site } from '@virt8ra/contract';
import type { Handle, InstanceRealizationSpec } from '@virt8ra/driver';
import { claimedDevices } from '../../capacity/claims.js';
import { countDevices, devicesFor, sayNeed } from '../../placement/devices.js';
import type { StoredResource } from '../../resources/stored-resource.js';
import type { KindContext } from '../context.js';
import { ensureNetworkOnHost } from '../network/index.js';
import { type NicOfInstance, nicsForInstance } from '../nic/index.js';
import { ensureGroupOnHost } from '../security-group/index.js';
import { guestCare } from './guest-care.js';
import { instanceGroup } from './networking.js';
import { partsOfInstance } from './parts.js';
import type { PowerIntent } from './power.js';
import type { InstanceSize } from './size.js';

/** What a site is asked for: everything but where it is and whether it may run. */
export interface RealizationOverrides extends PowerIntent {
  readonly volumes: readonly Handle[];
  /** What it boots from instead. */
  readonly rescue?: Handle;
  readonly permit?: Permit;
  readonly surrenderEpoch?: number;
  /** Recorded at the first start anywhere. */
  readonly machine?: string;
  readonly cpuModel?: string;
}

/** Builds the specification of an instance at one host. Raises `unavailable` while its networks are not ready there. */
export async function realizationSpecOf(
  context: KindContext,
  resource: StoredResource<InstanceSpec>,
  at: { readonly site: string; readonly host: string },
  overrides: RealizationOverrides,
): Promise<InstanceRealizationSpec> {
  const parts = await partsOfInstance(context.store, resource);
  const nics = await nicsForInstance(context.store, parts.nicUids);
  const handles = new Map<string, Handle>();
  for (const { networkUid } of nics) {
    if (handles.has(networkUid)) continue;
    const network = await context.store.getByUid(networkUid);
    if (network === undefined) throw new Problem('internal', `the network of a NIC of ${resource.address.name} is gone`);
    const made = await ensureNetworkOnHost(context, network, at.site, at.host);
    if ('waiting' in made)
      throw new Problem('unavailable', `network ${network.address.name} is not ready on ${at.host} yet: ${made.waiting}`);
    handles.set(networkUid, made.handle);
  }
  const vendorData = (await context.store.get<SiteSpec>(site, { name: at.site }))?.spec.vendorData;
  const groups = await securityGroupsOf(context, resource, nics, at, handles);
  const { devices: needs = [], ...size } = parts.size;
  const pciDevices = await pciDevicesOf(context, resource, at.host, needs);
  const { rescue, permit, surrenderEpoch, machine, cpuModel, volumes, power, restarts } = overrides;
  return {
    instance: resource.uid,
    name: resource.address.name,
    host: at.host,
    architecture: parts.architecture,
    firmware: parts.firmware,
    ...size,
    ...(pciDevices.length === 0 ? {} : { pciDevices }),
    power,
    restarts,
    volumes,
    ...(rescue === undefined ? {} : { rescue }),
    nics: nics.map(({ networkUid, groupUids: _, publicIps, waysIn, ...rest }, index) => {
      const network = handles.get(networkUid);
      if (network === undefined) throw new Problem('internal', 'a NIC without its network');
      const securityGroups = groups[index] ?? [];
      const publicAddresses = publicIps.filter(({ site, version }) => site === at.site && waysIn.has(version));
      return {
        ...rest,
        network,
        ...(securityGroups.length === 0 ? {} : { securityGroups }),
        ...(publicAddresses.length === 0 ? {} : { publicAddresses: publicAddresses.map(({ address, to }) => ({ address, to })) }),
      };
    }),
    seed: {
      instanceId: resource.uid,
      hostname: resource.address.name,
      sshKeys: [...(resource.spec.sshKeys ?? [])],
      ...(resource.spec.userData === undefined ? {} : { userData: resource.spec.userData }),
      ...(vendorData === undefined ? {} : { vendorData }),
    },
    exposedPorts: accessPorts(resource.extensions),
    ...guestCare(resource.extensions),
    ...(permit === undefined ? {} : { permit }),
    ...(surrenderEpoch === undefined ? {} : { surrenderEpoch }),
    ...(machine === undefined ? {} : { machine }),
    ...(cpuModel === undefined ? {} : { cpuModel }),
  };
}

/** What its claim on that host has for it. Raises `exhausted` when that is less than it needs: without its devices it is not the same instance. */
async function pciDevicesOf(
  context: KindContext,
  { uid, address }: StoredResource<InstanceSpec>,
  host: string,
  needs: NonNullable<InstanceSize['devices']>,
): Promise<NonNullable<InstanceRealizationSpec['pciDevices']>> {
  if (needs.length === 0) return [];
  const claimed = await context.store.transaction(async (tx) => await claimedDevices(tx.client, uid, host));
  const devices = devicesFor(claimed, needs);
  const missing = needs.find(({ need }) => !devices.some((each) => each.need === need));
  if (missing !== undefined)
    throw new Problem('exhausted', `instance ${address.name} has no claim to ${sayNeed(missing)} on host ${host}; move it to one that has`);
  return Object.entries(countDevices(devices)).map(([id, count]) => ({ id, count }));
}

/** Makes the groups of each NIC on the host, those of its instance included. Raises `unavailable` while one cannot be made there. */
async function securityGroupsOf(
  context: KindContext,
  { uid }: StoredResource<InstanceSpec>,
  nics: readonly NicOfInstance[],
  { site, host }: { readonly site: string; readonly host: string },
  networks: ReadonlyMap<string, Handle>,
): Promise<readonly (readonly Handle[])[]> {
  const own = await instanceGroup(context.store, uid);
  const made = new Map<string, Handle>();
  const found: Handle[][] = [];
  for (const { networkUid, groupUids } of nics) {
    const handles: Handle[] = [];
    for (const group of new Set([...groupUids, ...(own === undefined ? [] : [own])])) {
      const key = `${group} ${networkUid}`;
      const network = networks.get(networkUid);
      if (network === undefined) throw new Problem('internal', 'a NIC without its network');
      const handle = made.get(key) ?? (await groupHandle(context, group, { site, host, network: networkUid }, network));
      made.set(key, handle);
      handles.push(handle);
    }
    found.push(handles);
  }
  return found;
}

async function groupHandle(
  context: KindContext,
  group: Id<'resource'>,
  place: Parameters<typeof ensureGroupOnHost>[2],
  network: Handle,
): Promise<Handle> {
  const on = await ensureGroupOnHost(context, group, place, network);
  if ('waiting' in on) throw new Problem('unavailable', `a security group is not ready on ${place.host} yet: ${on.waiting}`);
  return on.handle;
}

/** The guest ports that the extension `virt8ra.access` asks to be reachable. Raises `validation` for anything but ports. */
export function accessPorts(extensions: Readonly<Record<string, string>> | undefined): number[] {
  const text = extensions?.['virt8ra.access'];
  if (text === undefined || text.trim() === '') return [];
  const ports = text.split(',').map((part) => Number(part.trim()));
  if (ports.length > 64 || ports.some((port) => !Number.isInteger(port) || port < 1 || port > 65535)) {
    throw new Problem('validation', 'virt8ra.access is a comma-separated list of up to 64 TCP ports, such as "22,80"', {
      sources: [{ pointer: '/extensions/virt8ra.access' }],
    });
  }
  return [...new Set(ports)];
}
