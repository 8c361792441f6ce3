import type { Capabilities } from '@virt8ra/driver';

export const capabilities: Capabilities = {
  /** Compute shows a server as soon as it has answered; a cell that is busy may take its time. */
  settleSeconds: 30,
  /** Behind virtio; the boot disk is one of them. */
  maxVolumesPerInstance: 26,
  maxNicsPerInstance: 16,
  firmwares: ['BIOS', 'UEFI'],
  migrationModes: [],
  enforcesPermits: false,
};
