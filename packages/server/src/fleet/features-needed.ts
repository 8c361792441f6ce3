import type { AgentFeature, DesiredByType, DesiredInstance, DesiredNetwork, DesiredTransfer, HostObjectType } from '@virt8ra/contract';

/** What an agent must offer before this may be asked of it. */
export function featuresNeeded<Type extends HostObjectType>(type: Type, desired: DesiredByType[Type]): AgentFeature[] {
  switch (type) {
    case 'filter':
      return ['filters'];
    case 'backup':
      return ['backup'];
    case 'snapshot':
      return ['snapshot'];
    case 'network':
      return ofNetwork(desired as DesiredNetwork);
    case 'transfer':
      return ofTransfer(desired as DesiredTransfer);
    case 'instance':
      return ofInstance(desired as DesiredInstance);
    default:
      return [];
  }
}

function ofTransfer(desired: DesiredTransfer): AgentFeature[] {
  const probes = ('hold' in desired && desired.hold === true) || ('probe' in desired && desired.probe !== undefined);
  return [...('prepare' in desired ? (['guest-disks'] as const) : []), ...(probes ? (['boot-probe'] as const) : [])];
}

function ofNetwork({ routes, dhcp, dns, neighbours }: DesiredNetwork): AgentFeature[] {
  return [
    ...(neighbours === undefined ? [] : (['neighbours'] as const)),
    ...((routes ?? []).length > 0 ? (['routes'] as const) : []),
    ...(dhcp === true ? (['dhcp'] as const) : []),
    ...(dns === undefined ? [] : (['dns'] as const)),
  ];
}

function ofInstance({ nics, seed, restart, stopSeconds, rescueVolumeKey }: DesiredInstance): AgentFeature[] {
  const needed = nics.flatMap((nic): AgentFeature[] => [
    ...(nic.filters === undefined ? [] : (['filters'] as const)),
    ...(nic.antiSpoof === undefined ? [] : (['anti-spoofing'] as const)),
    ...(nic.rate === undefined ? [] : (['rates'] as const)),
    ...((nic.publicAddresses ?? []).length > 0 ? (['public-addresses'] as const) : []),
  ]);
  return [
    ...new Set(needed),
    ...(rescueVolumeKey === undefined ? [] : (['rescue'] as const)),
    ...(seed.vendorData === undefined ? [] : (['vendor-data'] as const)),
    ...(restart === undefined ? [] : (['restart-policy'] as const)),
    ...(stopSeconds === undefined ? [] : (['stop-time'] as const)),
  ];
}
