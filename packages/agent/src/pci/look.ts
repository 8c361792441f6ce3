import { join } from 'node:path';
import { type Allowance, allowanceFor } from './allowance.js';
import { readHostUse } from './host-use.js';
import { type Judged, judgeFunctions } from './judge-functions.js';
import { readFunctions, readIommu, vfioDriver } from './pci-function.js';
import type { PciSystem } from './pci-system.js';

/** What there is of PCI devices, and which of them guests may have. */
export interface PciSight {
  readonly iommu: { readonly on: boolean; readonly reason: string };
  readonly judged: readonly Judged[];
}

/** What the machine has now; `holds`: whether a guest of ours has the function of that address. */
export async function lookAtPci(
  system: PciSystem,
  allowances: readonly Allowance[],
  holds: (address: string) => boolean,
): Promise<PciSight> {
  const iommu = await readIommu(system);
  const functions = await readFunctions(system);
  const asked = new Set(functions.filter((each) => allowanceFor(allowances, each) !== undefined).map(({ address }) => address));
  const uses = new Map(asked.size === 0 ? [] : await readHostUse(system, functions, (address) => asked.has(address)));
  for (const { address, driver, group } of functions) {
    if (!asked.has(address) || driver !== vfioDriver || group === undefined || holds(address)) continue;
    if (await system.isTaken(join(system.dev, 'vfio', String(group))))
      uses.set(address, 'is in the hands of a process that is no guest of this agent');
  }
  return { iommu, judged: judgeFunctions({ functions, allowances, uses, iommu, root: system.root }) };
}
