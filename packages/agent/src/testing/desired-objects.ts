import type { DesiredInstance, DesiredVolume, Permit } from '@virt8ra/contract';

/** A volume made from an image. */
export function imageVolume(key: string, image: { sha256: string; bytes: number }, sizeBytes: number): DesiredVolume {
  return { key, sizeBytes, source: { type: 'image', ...image, format: 'raw' }, settle: false };
}

/** A small instance that should run on `holder`. */
export function smallInstance(key: string, volumeKey: string, permit: Permit, change: Partial<DesiredInstance> = {}): DesiredInstance {
  return {
    key,
    instance: `res_${key}`,
    name: key,
    architecture: 'amd64',
    firmware: 'BIOS',
    vCPU: 1,
    memoryMiB: 64,
    power: 'on',
    restarts: 0,
    volumeKeys: [volumeKey],
    nics: [],
    seed: { instanceId: `iid-${key}`, hostname: key, sshKeys: [] },
    exposedPorts: [],
    permit,
    ...change,
  };
}

/** An empty volume. */
export function blankVolume(key: string, sizeBytes: number): DesiredVolume {
  return { key, sizeBytes, source: { type: 'blank' }, settle: false };
}
