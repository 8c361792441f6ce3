import { type DesiredBackup, type ObservedBackup, Problem } from '@virt8ra/contract';
import type { BackupRealizationSpec, BackupRealizationStatus, BackupsFacet } from '@virt8ra/driver';
import { capabilities } from './capability.js';
import { troubleOf } from './networks.js';
import { assertSame, createObjectFacet, keyOnHost, type ObjectTranslation, type SiteFleet } from './object-facet.js';

const translation: ObjectTranslation<'backup', BackupRealizationSpec, BackupRealizationStatus> = {
  type: 'backup',
  toDesired: ({ volumes }, { key, host }): DesiredBackup => {
    if (volumes.length === 0) throw new Problem('unsupported', 'a backup needs a block storage');
    if (volumes.length > capabilities.maxVolumesPerInstance)
      throw new Problem('unsupported', `a backup has at most ${capabilities.maxVolumesPerInstance} block storages, not ${volumes.length}`);
    return { key, volumes: volumes.map((volume) => ({ volumeKey: keyOnHost(volume, 'volume', host) })) };
  },
  assertChangeable: (from, to) => assertSame('a backup', from, to, ['volumes']),
  awaited: ({ volumes }) => ({ state: 'waiting', volumes: volumes.map(() => ({ sizeBytes: 0 })) }),
  read: (observed) => ({
    status: statusFromObserved(observed),
    changing: observed.state !== 'sent' && observed.state !== 'failed',
    ...troubleOf(observed.state === 'failed', observed.problem),
  }),
};

export function createBackupsFacet(site: SiteFleet): BackupsFacet {
  return createObjectFacet(site, translation);
}

function statusFromObserved({ state, waitingFor, takenAt, consistency, volumes }: ObservedBackup): BackupRealizationStatus {
  return {
    state,
    ...(waitingFor === undefined ? {} : { waitingFor }),
    ...(takenAt === undefined ? {} : { takenAt }),
    ...(consistency === undefined ? {} : { consistency }),
    volumes: volumes.map(({ sizeBytes, file }) => ({ sizeBytes, ...(file === undefined ? {} : { file }) })),
  };
}
