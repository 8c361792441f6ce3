import type { HostInventory } from '@virt8ra/contract';
import type { Capabilities } from '@virt8ra/driver';

/** What a host of 8 threads tells of itself. */
export function smallInventory(hostname: string, change: Partial<HostInventory> = {}): HostInventory {
  return {
    hostname,
    bootId: 'boot',
    architecture: 'x86_64',
    kernel: '6.1',
    cpu: { model: 'cpu', cores: 8, threads: 8, numaCells: 1 },
    memoryMiB: 16_384,
    memoryAvailableMiB: 16_384,
    storage: { totalBytes: 1e12, freeBytes: 1e12 },
    nics: [],
    gpus: [],
    hypervisor: { qemuVersion: '8.2', accelerator: 'tcg', reason: '', machines: ['pc-1'], cpuModels: ['qemu64'] },
    network: { mode: 'user', reason: '' },
    capacity: { vCPU: 8, memoryMiB: 16_384, storageBytes: 1e12 },
    agent: { version: '0', rssMiB: 1, uptimeSeconds: 1 },
    ...change,
  };
}

/** What sites in memory can do. */
export const memoryCapabilities: Capabilities = {
  settleSeconds: 0,
  maxVolumesPerInstance: 8,
  maxNicsPerInstance: 8,
  firmwares: ['BIOS'],
  migrationModes: ['live', 'warm', 'cold'],
  enforcesPermits: true,
};
