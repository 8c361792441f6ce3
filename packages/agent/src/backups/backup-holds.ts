import type { BackupStore } from './backup-store.js';

/** What backups under way need of volumes. */
export interface BackupHolds {
  /** True while the volume is being copied: it stays with its guest and keeps its size. */
  copies(volumeKey: string): boolean;
  /** True while a volume that nobody used when it was begun is being copied: no guest may have it before that is done. */
  keepsFromGuests(volumeKey: string): boolean;
}

export function backupHolds(store: Pick<BackupStore, 'all'>): BackupHolds {
  const copying = (volumeKey: string) =>
    store.all().filter(({ stage, volumes }) => stage === 'copying' && volumes.some((volume) => volume.volumeKey === volumeKey));
  return {
    copies: (volumeKey) => copying(volumeKey).length > 0,
    keepsFromGuests: (volumeKey) => copying(volumeKey).some(({ launchId }) => launchId === undefined),
  };
}
