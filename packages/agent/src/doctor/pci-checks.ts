import { join } from 'node:path';
import { type Finding, found } from '@virt8ra/contract';
import type { AgentConfig } from '../config.js';
import { readJson } from '../disk/atomic-file.js';
import { lookAtPci } from '../pci/look.js';
import { hasVfio, iommuMend, vfioDriver } from '../pci/pci-function.js';
import { hostPciSystem, type PciSystem } from '../pci/pci-system.js';

/** What keeps PCI devices of this machine from guests. Without `--pci-devices` nobody wants them there, and nothing of it is amiss. */
export async function checkPci(config: AgentConfig, system: PciSystem = hostPciSystem(config.root)): Promise<readonly Finding[]> {
  // Only looked at: what is damaged there is the agent's to put aside.
  const held = JSON.stringify(await readJson(join(config.stateDirectory, 'pci.json')).catch(() => undefined)) ?? '';
  const { iommu, judged } = await lookAtPci(system, config.pciDevices, (address) => held.includes(`"${address}"`));
  const wanted = config.pciDevices.length > 0;
  if (!iommu.on) {
    const level = wanted ? 'warn' : 'pass';
    const advice = wanted ? '' : ` (to have one: ${iommuMend})`;
    return [found('pci/iommu', level, `${iommu.reason}; PCI devices cannot be given to guests${advice}`, iommuMend)];
  }
  const on = found('pci/iommu', 'pass', iommu.reason);
  if (!wanted) return [on, found('pci/devices', 'pass', 'none is offered to guests (--pci-devices)')];
  const offered = judged.filter(({ type }) => type === 'unit').length;
  const refused = judged.flatMap((each) => (each.type === 'refused' && each.asked ? [`${each.device.address}: ${each.reason}`] : []));
  const driver = (await hasVfio(system))
    ? found('pci/driver', 'pass', `the kernel has ${vfioDriver}`)
    : found('pci/driver', 'warn', `the kernel has no ${vfioDriver} yet; the agent loads it for the first guest`, `modprobe ${vfioDriver}`);
  const level = refused.length > 0 || offered === 0 ? 'warn' : 'pass';
  const text = `${offered} offered to guests${refused.length === 0 ? '' : `; not offered: ${refused.slice(0, 8).join('; ')}`}`;
  return [
    on,
    driver,
    found('pci/devices', level, text, 'see "PCI devices" in docs/operating/hardware.md, or take them out of --pci-devices'),
  ];
}
