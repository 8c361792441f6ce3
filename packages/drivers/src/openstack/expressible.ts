import { Problem } from '@virt8ra/contract';
import type { InstanceRealizationSpec } from '@virt8ra/driver';
import { capabilities } from './capability.js';

/** Raises `unsupported` for what a server here cannot have: nothing of a spec is dropped in silence. */
export function assertExpressible(spec: InstanceRealizationSpec, when: 'create' | 'update' = 'create'): void {
  const { volumes, nics } = spec;
  if (volumes.length === 0) throw new Problem('unsupported', 'an instance needs a boot volume');
  if (volumes.length > capabilities.maxVolumesPerInstance)
    throw new Problem('unsupported', `an instance has at most ${capabilities.maxVolumesPerInstance} block storages, not ${volumes.length}`);
  if (nics.length > capabilities.maxNicsPerInstance)
    throw new Problem('unsupported', `an instance has at most ${capabilities.maxNicsPerInstance} NICs, not ${nics.length}`);
  const refusals: readonly (readonly [boolean, string])[] = [
    [spec.host !== undefined, 'a host cannot be chosen at an OpenStack site: its compute service chooses'],
    [spec.cpuPolicy !== undefined, 'dedicated processors come with flavours that this driver does not choose'],
    [spec.hugePages !== undefined, 'huge pages come with flavours that this driver does not choose'],
    [spec.pciDevices !== undefined, 'PCI devices come with flavours that this driver does not choose'],
    [spec.rescue !== undefined, 'a rescue is the cloud’s own there, from an image'],
    [spec.exposedPorts.length > 0, 'ports cannot be reached through an access endpoint: nobody of ours is at the site'],
    [spec.surrenderEpoch !== undefined, 'run permits are not enforced at an OpenStack site'],
    [spec.restart !== undefined, 'what becomes of a guest that stops is the cloud’s to decide'],
    [spec.stopSeconds !== undefined, 'how long a guest may take to stop is the cloud’s to decide'],
    [nics.some(({ securityGroups = [] }) => securityGroups.length > 0), 'security groups are not realized at OpenStack sites'],
    [nics.some(({ publicAddresses = [] }) => publicAddresses.length > 0), 'public addresses are not realized at OpenStack sites'],
    [nics.some(({ forwards }) => forwards === true), 'a NIC that forwards is not realized at OpenStack sites'],
    [nics.some(({ rate }) => rate !== undefined), 'the rate of a NIC cannot be bounded at OpenStack sites'],
    [
      when === 'create' && (spec.power === 'off' || spec.permit === undefined),
      'OpenStack starts a server when it makes it; it cannot be made and left off',
    ],
  ];
  for (const [is, why] of refusals) if (is) throw new Problem('unsupported', why);
}
