import type { Capabilities } from '@virt8ra/driver';

/** Limits of protocol version 1. A declaration is in the control plane's own database, so that nothing settles later. */
export const capabilities: Capabilities = {
  settleSeconds: 0,
  maxVolumesPerInstance: 65,
  maxNicsPerInstance: 17,
  firmwares: ['BIOS', 'UEFI'],
  migrationModes: ['live', 'warm', 'cold'],
  enforcesPermits: true,
};
