import { join } from 'node:path';
import type { AgentFeature } from '@virt8ra/contract';
import type { VolumeStore } from '../storage/volume-store.js';
import type { MovedGuests } from '../transfer/send-source.js';
import { TransferNotes, type TransferParts } from '../transfer/transfer-notes.js';
import { GuestInspections } from './inspect-instance.js';
import { libguestfsDisks } from './libguestfs-disks.js';
import { ArrivedPreparer } from './prepare-arrived.js';

/** What of guests' disks this host can do, and what does it. */
export interface OpenedGuestDisks {
  readonly features: readonly AgentFeature[];
  /** Prepares what a transfer has brought, if that is desired. */
  readonly arrived: ArrivedPreparer;
  readonly inspections: GuestInspections;
}

export async function openGuestDisks(
  parts: TransferParts,
  volumes: VolumeStore,
  guests: MovedGuests & { usesVolume(volumeKey: string): boolean },
): Promise<OpenedGuestDisks> {
  const { context } = parts;
  const { stateDirectory, runtimeDirectory, root } = context.config;
  const directory = join(stateDirectory, 'guest-disks');
  const guestDisks = libguestfsDisks({ directory, runtimeDirectory, root, accelerator: context.hypervisor.accelerator });
  const lack = await guestDisks.lack();
  if (lack !== undefined) context.log.info('guests’ disks cannot be looked into on this host', { reason: lack });
  return {
    features: lack === undefined ? ['guest-disks'] : [],
    arrived: new ArrivedPreparer({
      context,
      notes: new TransferNotes(parts),
      volumes,
      guestDisks,
      isUsed: (volumeKey) => guests.usesVolume(volumeKey),
    }),
    inspections: new GuestInspections({ context, volumes, guestDisks, guests }),
  };
}
