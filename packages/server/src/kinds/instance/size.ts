import {
  type CpuPolicy,
  cpuPolicies,
  type HugePageSize,
  hugePageSizes,
  type instanceSku,
  type PciNeed,
  pciNeedsFrom,
} from '@virt8ra/contract';
import type { Static } from 'typebox';
import type { DeviceNeed } from '../../placement/devices.js';
import type { Capacity } from '../../placement/placement.js';
import type { StoredResource } from '../../resources/stored-resource.js';

/** What an instance SKU promises of its host's processors and memory. */
export interface InstanceSize {
  readonly vCPU: number;
  readonly memoryMiB: number;
  /** Absent: processors are shared. */
  readonly cpuPolicy?: CpuPolicy;
  /** Absent: memory is in whatever pages the host has. */
  readonly hugePages?: HugePageSize;
  /** PCI devices of its host, which it has for itself. Absent: none. */
  readonly devices?: readonly DeviceNeed[];
}

type Sku = Pick<StoredResource<Static<typeof instanceSku.spec>>, 'spec' | 'extensions'>;

/** The size that a SKU stands for. */
export function sizeOf({ spec, extensions }: Sku): InstanceSize {
  const cpuPolicy = cpuPolicies.find((known) => known === extensions['virt8ra.cpu-policy']);
  const hugePages = hugePageSizes.find((known) => known === extensions['virt8ra.huge-pages']);
  const devices = [...gpuNeeds(spec), ...pciNeedsFrom(extensions['virt8ra.pci']).map(pciNeed)];
  return {
    vCPU: spec.vCPU,
    memoryMiB: spec.ram * 1024,
    ...(cpuPolicy === undefined ? {} : { cpuPolicy }),
    ...(hugePages === undefined ? {} : { hugePages }),
    ...(devices.length === 0 ? {} : { devices }),
  };
}

function gpuNeeds({ gpu }: Sku['spec']): readonly DeviceNeed[] {
  if (gpu === undefined) return [];
  const { count, vendor, model, ram } = gpu;
  return [{ need: `gpu ${vendor} ${model} ${ram}`, count, by: 'gpu', vendor, model, ram }];
}

function pciNeed({ id, count }: PciNeed): DeviceNeed {
  return { need: `pci ${id}`, count, by: 'id', id };
}

/** The room that it takes on a host. Dedicated processors and huge pages are none of those that others share. */
export function roomOf({ vCPU, memoryMiB, cpuPolicy, hugePages }: InstanceSize): Omit<Required<Capacity>, 'storageBytes'> {
  const dedicated = cpuPolicy === 'dedicated';
  return {
    vCPU: dedicated ? 0 : vCPU,
    memoryMiB: hugePages === undefined ? memoryMiB : 0,
    dedicatedCPU: dedicated ? vCPU : 0,
    huge2Mi: hugePages === '2Mi' ? memoryMiB : 0,
    huge1Gi: hugePages === '1Gi' ? memoryMiB : 0,
  };
}
