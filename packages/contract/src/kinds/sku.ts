import { type Static, Type } from 'typebox';
import { defineKind } from '../kind.js';

/** How a guest's processors use those of their host; what says nothing shares them. Extension `virt8ra.cpu-policy` of an instance SKU. */
export const cpuPolicies = ['dedicated'] as const;
export type CpuPolicy = (typeof cpuPolicies)[number];

/** Extension `virt8ra.huge-pages` of an instance SKU. */
export const hugePageSizes = ['2Mi', '1Gi'] as const;
export type HugePageSize = (typeof hugePageSizes)[number];

/** SKUs are our own catalogue: a promise of size that every account maps to what it sells. Read-only. */

export const instanceSku = defineKind({
  kind: 'instance-sku',
  provider: 'seca.compute',
  version: 'v1',
  collection: 'skus',
  scope: 'tenant',
  writable: false,
  aliases: ['instance-skus'],
  summary: 'a size of instance: vCPU and memory (GiB)',
  spec: Type.Object({ vCPU: Type.Integer({ minimum: 1, maximum: 60 }), ram: Type.Integer({ minimum: 1, maximum: 65536 }) }),
  status: undefined,
});

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
