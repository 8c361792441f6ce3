import { type Static, Type } from 'typebox';
import { defineKind } from '../kind.js';
import { oneOf } from '../shape.js';

/** How a guest's processors use those of their host; what says nothing shares them. Extension `virt8ra.cpu-policy` of an instance SKU. */
export const cpuPolicies = ['dedicated'] as const;
export type CpuPolicy = (typeof cpuPolicies)[number];

/** Extension `virt8ra.huge-pages` of an instance SKU. */
export const hugePageSizes = ['2Mi', '1Gi'] as const;
export type HugePageSize = (typeof hugePageSizes)[number];

/** So many PCI devices of one vendor and device id. */
export interface PciNeed {
  readonly id: string;
  readonly count: number;
}

/**
 * Extension `virt8ra.pci` of an instance SKU: PCI devices of its host that a guest has for itself, such as `8086:0d58` or `8086:0d58=2,144d:a80a`.
 * Raises RangeError for what is no such list.
 */
export function pciNeedsFrom(text: string | undefined): readonly PciNeed[] {
  if (text === undefined || text.trim() === '') return [];
  const needs = text.split(',').map((part) => {
    const [, id, count = '1'] = /^([0-9a-f]{4}:[0-9a-f]{4})(?:=(\d{1,2}))?$/.exec(part.trim()) ?? [];
    if (id === undefined || Number(count) < 1 || Number(count) > 16)
      throw new RangeError(`a list of vendor:device ids, each with how many of them, such as 8086:0d58=2, not ${part.trim()}`);
    return { id, count: Number(count) };
  });
  if (new Set(needs.map(({ id }) => id)).size < needs.length) throw new RangeError('a list that names each id once');
  return needs;
}

export const gpuVendors = ['nvidia', 'amd', 'intel'] as const;

/** Of an instance SKU: GPUs that a guest has for itself, all of one model. In SECA later than v1.7; older clients ignore it. */
export const Gpu = Type.Object({
  count: Type.Integer({ minimum: 1, maximum: 16 }),
  vendor: oneOf(gpuVendors),
  model: Type.String({ minLength: 1, maxLength: 64 }),
  /** GB of video memory of each. */
  ram: Type.Integer({ minimum: 1, maximum: 256 }),
});
export type Gpu = Static<typeof Gpu>;

/** SKUs are our own catalogue: a promise of size that every account maps to what it sells. Read-only. */

export const instanceSku = defineKind({
  kind: 'instance-sku',
  provider: 'seca.compute',
  version: 'v1',
  collection: 'skus',
  scope: 'tenant',
  writable: false,
  aliases: ['instance-skus'],
  summary: 'a size of instance: vCPU, memory (GiB) and GPUs',
  spec: Type.Object({
    vCPU: Type.Integer({ minimum: 1, maximum: 60 }),
    ram: Type.Integer({ minimum: 1, maximum: 65536 }),
    gpu: Type.Optional(Gpu),
  }),
  status: undefined,
});

export type InstanceSkuSpec = Static<typeof instanceSku.spec>;

export const storageSku = defineKind({
  kind: 'storage-sku',
  provider: 'seca.storage',
  version: 'v1',
  collection: 'skus',
  scope: 'tenant',
  writable: false,
  aliases: ['storage-skus'],
  summary: 'a class of block storage: IOPS and durability',
  spec: Type.Object({
    iops: Type.Integer({ minimum: 1, maximum: 45000 }),
    type: Type.Union([Type.Literal('local-ephemeral'), Type.Literal('local-durable'), Type.Literal('remote-durable')]),
    minVolumeSize: Type.Integer({ minimum: 1 }),
  }),
  status: undefined,
});

export type StorageSkuSpec = Static<typeof storageSku.spec>;

export const networkSku = defineKind({
  kind: 'network-sku',
  provider: 'seca.network',
  version: 'v1',
  collection: 'skus',
  scope: 'tenant',
  writable: false,
  aliases: ['network-skus'],
  summary: 'a class of network: bandwidth (Mbit/s) and packets per second',
  spec: Type.Object({
    bandwidth: Type.Integer({ minimum: 1, maximum: 800000 }),
    packets: Type.Integer({ minimum: 1, maximum: 200000000000 }),
  }),
  status: undefined,
});
