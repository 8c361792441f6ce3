import { type Allowance, allowanceFor, gpuVendors } from './allowance.js';
import { isBridge, isChipset, type PciFunction, vfioDriver } from './pci-function.js';

/** Functions that one guest has together because the IOMMU cannot tell them apart: a whole group, its main function first. */
export interface PciUnit {
  readonly main: PciFunction;
  readonly functions: readonly PciFunction[];
  readonly group: number;
  readonly gpu?: { readonly vendor: 'nvidia' | 'amd' | 'intel'; readonly model: string; readonly ram: number };
}

export type Judged =
  /** The main function of a unit that guests may have. */
  | { readonly type: 'unit'; readonly device: PciFunction; readonly unit: PciUnit }
  /** Goes with the unit of another function. */
  | { readonly type: 'companion'; readonly device: PciFunction; readonly unit: PciUnit }
  | { readonly type: 'refused'; readonly device: PciFunction; readonly reason: string; readonly asked: boolean };

export interface Judgement {
  readonly functions: readonly PciFunction[];
  readonly allowances: readonly Allowance[];
  /** Why the host needs a function itself. */
  readonly uses: ReadonlyMap<string, string>;
  readonly iommu: { readonly on: boolean; readonly reason: string };
  readonly root: boolean;
}

/** One slot of a guest's bus has no more. */
const functionsMost = 8;

/** Which functions guests may have, and why not each other one. Bridges are left out: nobody can have them. */
export function judgeFunctions(question: Judgement): readonly Judged[] {
  const { functions } = question;
  const groups = new Map<number, PciFunction[]>();
  for (const device of functions) if (device.group !== undefined) groups.set(device.group, [...(groups.get(device.group) ?? []), device]);
  return functions
    .filter((device) => !isChipset(device))
    .map((device) => {
      const asked = allowanceFor(question.allowances, device) !== undefined;
      const own = ownFault(device, question);
      if (own !== undefined) return { type: 'refused', device, reason: own, asked };
      const members = groups.get(device.group ?? -1) ?? [];
      const reason = groupFault(device, members, question);
      if (reason !== undefined) return { type: 'refused', device, reason, asked };
      const unit = unitOf(members, question);
      return unit.main === device ? { type: 'unit', device, unit } : { type: 'companion', device, unit };
    });
}

function ownFault(device: PciFunction, { allowances, uses, iommu, root }: Judgement): string | undefined {
  if (allowanceFor(allowances, device) === undefined) return 'the operator does not offer it (--pci-devices)';
  if (!iommu.on) return iommu.reason;
  if (!root) return 'the agent does not run as root';
  const use = uses.get(device.address);
  if (use !== undefined) return `it ${use}`;
  return device.group === undefined ? 'the IOMMU does not have it: it is in no group' : undefined;
}

function groupFault(device: PciFunction, members: readonly PciFunction[], { allowances, uses }: Judgement): string | undefined {
  const others = members.filter((other) => other !== device && !isBridge(other));
  if (others.filter((other) => !isChipset(other)).length >= functionsMost)
    return `its IOMMU group ${device.group} has ${others.length + 1} functions, more than one slot of a guest takes`;
  for (const other of others) {
    const what = `its IOMMU group ${device.group} also has ${other.address} (${other.id})`;
    if (isChipset(other)) {
      if (other.driver !== undefined && other.driver !== vfioDriver)
        return `${what}, a part of the chipset that driver ${other.driver} has; another slot may have a group of its own`;
      continue;
    }
    if (allowanceFor(allowances, other) === undefined)
      return `${what}, which is not offered: one guest would have both; offer it too, or use another slot`;
    const use = uses.get(other.address);
    if (use !== undefined) return `${what}, which ${use}`;
  }
  return undefined;
}

function unitOf(members: readonly PciFunction[], { allowances }: Judgement): PciUnit {
  const functions = members
    .filter((device) => !isChipset(device))
    // A GPU is what its audio and USB functions come with.
    .toSorted((a, b) => Number(isDisplay(b)) - Number(isDisplay(a)) || (a.address < b.address ? -1 : 1));
  const [main] = functions;
  if (main?.group === undefined) throw new RangeError('a unit has a function in a group');
  const named = allowanceFor(allowances, main)?.gpu;
  const vendor = gpuVendors[main.id.slice(0, 4)];
  return { main, functions, group: main.group, ...(named === undefined || vendor === undefined ? {} : { gpu: { vendor, ...named } }) };
}

/** Display controllers and processing accelerators. */
export function isDisplay(device: Pick<PciFunction, 'class'>): boolean {
  return device.class.startsWith('03') || device.class.startsWith('12');
}
