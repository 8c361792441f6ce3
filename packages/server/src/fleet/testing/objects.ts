import type { DesiredInstance, DesiredNetwork, DesiredVolume } from '@virt8ra/contract';

/** Ordinary objects for tests. */

export function blankVolume(key: string, change: Partial<DesiredVolume> = {}): DesiredVolume {
  return { key, sizeBytes: 4_000_000, source: { type: 'blank' }, settle: false, ...change };
}

export function plainNetwork(key: string): DesiredNetwork {
  return { key, vni: 7, mtu: 1400, gateways: ['10.0.0.1/24'] };
}

/** Of resource `res_KEY`, on `host` under epoch 1. */
export function plainInstance(key: string, host: string, volumeKey: string, change: Partial<DesiredInstance> = {}): DesiredInstance {
  return {
    key,
    instance: `res_${key}`,
    name: key,
    architecture: 'amd64',
    firmware: 'BIOS',
    vCPU: 1,
    memoryMiB: 128,
    power: 'on',
    restarts: 0,
    volumeKeys: [volumeKey],
    nics: [],
    seed: { instanceId: `i-${key}`, hostname: key, sshKeys: [] },
    exposedPorts: [80],
    permit: { epoch: 1, holder: host },
    ...change,
  };
}
