import type { HostInventory } from '@virt8ra/contract';
import type { Capabilities, InstanceRealizationStatus } from '@virt8ra/driver';

/** A host of 8 threads that knows the machines of the sites in memory. */
export function inventoryOf(hostname: string): HostInventory {
  return {
    hostname,
    bootId: 'boot',
    architecture: 'x86_64',
    kernel: '6',
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
  };
}

export const memoryCapabilities: Capabilities = {
  settleSeconds: 0,
  maxVolumesPerInstance: 8,
  maxNicsPerInstance: 8,
  firmwares: ['BIOS'],
  migrationModes: ['live', 'warm', 'cold'],
  enforcesPermits: true,
};

/** Why a guest whose process ended is down: its host starts it again, or does so no more. */
export function troubleOf(forGood: boolean): NonNullable<InstanceRealizationStatus['trouble']> {
  return { code: forGood ? 'restart-policy' : 'internal', message: 'the guest’s process ended by itself' };
}
