import type { CpuPolicy, HugePageSize } from '@virt8ra/contract';

/** What is sold in this federation: sizes and classes that every account maps to what it has. Names and sizes follow SECA's catalogue. */

/** vCPU and memory in GiB. */
export const instanceSkus: Readonly<Record<string, { readonly vCPU: number; readonly ram: number }>> = {
  'seca.xs': { vCPU: 1, ram: 1 },
  'seca.s': { vCPU: 1, ram: 2 },
  'seca.m': { vCPU: 2, ram: 4 },
  'seca.l': { vCPU: 4, ram: 8 },
  'seca.2xl': { vCPU: 8, ram: 16 },
  'seca.d2xs': { vCPU: 1, ram: 2 },
  'seca.dxs': { vCPU: 1, ram: 4 },
  'seca.ds': { vCPU: 2, ram: 8 },
  'seca.dm': { vCPU: 4, ram: 16 },
  'seca.dl': { vCPU: 8, ram: 32 },
  'seca.dxl': { vCPU: 16, ram: 64 },
  'seca.sxl': { vCPU: 16, ram: 32 },
};

/** Sizes whose guests have hardware threads for themselves, their memory in huge pages or not. Only hosts that are set up for it take them. */
export const hardwareSkus: Readonly<
  Record<string, { readonly vCPU: number; readonly ram: number; readonly cpuPolicy: CpuPolicy; readonly hugePages?: HugePageSize }>
> = {
  'virt8ra.pxs': { vCPU: 1, ram: 1, cpuPolicy: 'dedicated' },
  'virt8ra.pm': { vCPU: 2, ram: 4, cpuPolicy: 'dedicated' },
  'virt8ra.pl': { vCPU: 4, ram: 8, cpuPolicy: 'dedicated' },
  'virt8ra.p2xl': { vCPU: 8, ram: 16, cpuPolicy: 'dedicated' },
  'virt8ra.p4xl': { vCPU: 16, ram: 64, cpuPolicy: 'dedicated' },
  'virt8ra.phxs': { vCPU: 1, ram: 1, cpuPolicy: 'dedicated', hugePages: '2Mi' },
  'virt8ra.phm': { vCPU: 2, ram: 4, cpuPolicy: 'dedicated', hugePages: '2Mi' },
  'virt8ra.phl': { vCPU: 4, ram: 8, cpuPolicy: 'dedicated', hugePages: '2Mi' },
  'virt8ra.ph2xl': { vCPU: 8, ram: 16, cpuPolicy: 'dedicated', hugePages: '2Mi' },
  'virt8ra.ph4xl': { vCPU: 16, ram: 64, cpuPolicy: 'dedicated', hugePages: '1Gi' },
};

/** IOPS by durability: `rd` remote, `ld` local. `minVolumeSize` in GB. */
export const storageSkus: Readonly<
  Record<
    string,
    { readonly iops: number; readonly type: 'local-ephemeral' | 'local-durable' | 'remote-durable'; readonly minVolumeSize: number }
  >
> = {
  rd100: { iops: 100, type: 'remote-durable', minVolumeSize: 1 },
  rd500: { iops: 500, type: 'remote-durable', minVolumeSize: 1 },
  rd2k: { iops: 2000, type: 'remote-durable', minVolumeSize: 1 },
  rd10k: { iops: 10_000, type: 'remote-durable', minVolumeSize: 1 },
  rd20k: { iops: 20_000, type: 'remote-durable', minVolumeSize: 1 },
  ld100: { iops: 100, type: 'local-durable', minVolumeSize: 1 },
  ld500: { iops: 500, type: 'local-durable', minVolumeSize: 1 },
  ld5k: { iops: 5000, type: 'local-durable', minVolumeSize: 1 },
  ld20k: { iops: 20_000, type: 'local-durable', minVolumeSize: 1 },
  ld40k: { iops: 40_000, type: 'local-durable', minVolumeSize: 1 },
};

/** Bandwidth in Mbit/s, packets per second. */
export const networkSkus: Readonly<Record<string, { readonly bandwidth: number; readonly packets: number }>> = {
  n1k: { bandwidth: 1000, packets: 100_000 },
  n5k: { bandwidth: 5000, packets: 500_000 },
  n10k: { bandwidth: 10_000, packets: 1_000_000 },
};
