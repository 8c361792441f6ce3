import {
  type AgentFeature,
  type DesiredInstance,
  type DesiredNic,
  type InstanceActivity,
  type ObservedInstance,
  Problem,
} from '@virt8ra/contract';
import type { InstanceRealizationSpec, InstanceRealizationStatus, InstancesFacet, NicRealizationSpec } from '@virt8ra/driver';
import { capabilities } from './capability.js';
import { troubleOf } from './networks.js';
import { assertSame, createObjectFacet, keyOnHost, type ObjectPlace, type ObjectTranslation, type SiteFleet } from './object-facet.js';

const translation: ObjectTranslation<'instance', InstanceRealizationSpec, InstanceRealizationStatus> = {
  type: 'instance',
  toDesired: instanceFromSpec,
  assertChangeable: (from, to) => {
    assertSame('an instance', from, to, ['instance', 'architecture', 'firmware']);
    if (from.seed.instanceId !== to.seed.instanceId) throw new Problem('unsupported', 'the seed of an instance keeps its id for life');
    if (to.restarts < from.restarts) throw new Problem('unsupported', 'the number of restarts only grows');
  },
  awaited: ({ power, permit }, host) => ({ activity: power === 'on' && permit !== undefined ? 'starting' : 'stopped', host, access: [] }),
  read: (observed, desired, host) => ({
    status: statusFromObserved(observed, desired, host),
    changing: isChanging(observed, desired),
    ...troubleOf(observed.state === 'failed', observed.problem),
  }),
};

export function createInstancesFacet(site: SiteFleet): InstancesFacet {
  return createObjectFacet(site, translation);
}

export function instanceFromSpec(spec: InstanceRealizationSpec, { key, host, features }: ObjectPlace): DesiredInstance {
  if (spec.volumes.length === 0) throw new Problem('unsupported', 'an instance needs a boot volume');
  if (spec.volumes.length > capabilities.maxVolumesPerInstance) {
    throw new Problem(
      'unsupported',
      `an instance has at most ${capabilities.maxVolumesPerInstance} block storages, not ${spec.volumes.length}`,
    );
  }
  if (spec.nics.length > capabilities.maxNicsPerInstance) {
    throw new Problem('unsupported', `an instance has at most ${capabilities.maxNicsPerInstance} NICs, not ${spec.nics.length}`);
  }
  const { instance, name, architecture, firmware, vCPU, memoryMiB, machine, cpuModel, power, restarts, permit, surrenderEpoch } = spec;
  const { restart, stopSeconds, cpuPolicy, hugePages, pciDevices, rescue } = spec;
  for (const [wanted, feature] of [
    [cpuPolicy, 'dedicated-cpus'],
    [hugePages, 'huge-pages'],
    [pciDevices, 'pci-devices'],
    [rescue, 'rescue'],
    [spec.seed.vendorData, 'vendor-data'],
  ] as const) {
    if (wanted !== undefined && !features.has(feature))
      throw new Problem('unsupported', `the agent of host ${host} is of an older release and cannot give ${feature}; bring it up to date`);
  }
  return {
    key,
    instance,
    name,
    architecture,
    firmware,
    vCPU,
    memoryMiB,
    ...(cpuPolicy === undefined ? {} : { cpuPolicy }),
    ...(hugePages === undefined ? {} : { hugePages }),
    ...(pciDevices === undefined ? {} : { pciDevices: pciDevices.map(({ id, count }) => ({ id, count })) }),
    ...(machine === undefined ? {} : { machine }),
    ...(cpuModel === undefined ? {} : { cpuModel }),
    power,
    restarts,
    volumeKeys: spec.volumes.map((volume) => keyOnHost(volume, 'volume', host)),
    ...(rescue === undefined ? {} : { rescueVolumeKey: keyOnHost(rescue, 'volume', host) }),
    nics: spec.nics.map((nic) => nicFromSpec(nic, host, features)),
    seed: spec.seed,
    exposedPorts: [...spec.exposedPorts],
    ...(permit === undefined ? {} : { permit }),
    ...(surrenderEpoch === undefined ? {} : { surrenderEpoch }),
    ...(restart === undefined ? {} : { restart }),
    ...(stopSeconds === undefined ? {} : { stopSeconds }),
  };
}

function nicFromSpec(nic: NicRealizationSpec, host: string, features: ReadonlySet<AgentFeature>): DesiredNic {
  const { key, network, mac, addresses, gateway4, gateway6, securityGroups = [], publicAddresses = [], forwards, rate } = nic;
  // A host that resolves names does so at the gateways.
  const resolvers = features.has('dns') ? [gateway4, gateway6].filter((gateway) => gateway !== undefined) : [];
  return {
    key,
    networkKey: keyOnHost(network, 'network', host),
    mac,
    addresses: [...addresses],
    ...(gateway4 === undefined ? {} : { gateway4 }),
    ...(gateway6 === undefined ? {} : { gateway6 }),
    nameservers: nic.nameservers.length > 0 ? [...nic.nameservers] : resolvers,
    ...(securityGroups.length === 0 ? {} : { filters: securityGroups.map((group) => keyOnHost(group, 'filter', host)) }),
    ...(publicAddresses.length === 0 ? {} : { publicAddresses: publicAddresses.map(({ address, to }) => ({ address, to })) }),
    ...(forwards === true && features.has('anti-spoofing') ? { antiSpoof: false } : {}),
    ...(rate === undefined || !features.has('rates') ? {} : { rate }),
  };
}

function statusFromObserved(observed: ObservedInstance, desired: DesiredInstance | undefined, host: string): InstanceRealizationStatus {
  const { since, waitingFor, permitEpoch, surrender, machine, cpuModel, accelerator, startedAt, restarts, boot, disks, guest, access } =
    observed;
  const { problem: trouble, rescue, lastEnd, differences, pciDevices } = observed;
  return {
    activity: activityFromObserved(observed, desired),
    since,
    host,
    ...(waitingFor === undefined ? {} : { waitingFor }),
    ...(permitEpoch === undefined ? {} : { permitEpoch }),
    ...(surrender === undefined ? {} : { surrender }),
    ...(machine === undefined ? {} : { machine }),
    ...(cpuModel === undefined ? {} : { cpuModel }),
    ...(accelerator === undefined ? {} : { accelerator }),
    ...(pciDevices === undefined ? {} : { pciDevices: pciDevices.map(({ id }) => id) }),
    ...(startedAt === undefined ? {} : { startedAt }),
    restarts,
    ...(trouble === undefined ? {} : { trouble }),
    ...(lastEnd === undefined ? {} : { lastEnd }),
    ...(differences === undefined ? {} : { differences }),
    ...(boot === undefined ? {} : { boot }),
    ...(guest === undefined ? {} : { guest }),
    ...(rescue === undefined ? {} : { rescued: true }),
    ...(disks === undefined ? {} : { disks: disks.map(({ volumeKey, ...disk }) => ({ key: volumeKey, ...disk })) }),
    access,
  };
}

function activityFromObserved({ state }: ObservedInstance, desired: DesiredInstance | undefined): InstanceActivity {
  switch (state) {
    case 'waiting':
      return desired?.power === 'on' && desired.permit !== undefined ? 'starting' : 'stopped';
    case 'failed':
      return 'crashed';
    case 'starting':
    case 'running':
    case 'paused':
    case 'stopping':
    case 'stopped':
    case 'crashed':
      return state;
  }
}

/** A guest that stopped by itself is `present`, stopped: what becomes of it is not this driver's to decide. */
function isChanging(observed: ObservedInstance, desired: DesiredInstance | undefined): boolean {
  const { state } = observed;
  if (state === 'starting' || state === 'stopping' || state === 'waiting') return true;
  if (desired === undefined) return false;
  if (desired.power === 'off' && (state === 'running' || state === 'paused')) return true;
  if (desired.power === 'on' && desired.restarts > observed.restarts) return true;
  if (state === 'running' && !hasItsDisks(observed, desired)) return true;
  return desired.surrenderEpoch !== undefined && (observed.surrender?.epoch ?? 0) < desired.surrenderEpoch;
}

/** An agent that does not tell of its guests’ disks gives them what is desired at their next start. */
function hasItsDisks({ disks }: ObservedInstance, { volumeKeys }: DesiredInstance): boolean {
  if (disks === undefined) return true;
  return disks.every(({ state }) => state === 'attached') && volumeKeys.every((key) => disks.some(({ volumeKey }) => volumeKey === key));
}
