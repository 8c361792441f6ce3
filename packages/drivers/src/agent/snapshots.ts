import { type DesiredSnapshot, type ObservedSnapshot, Problem } from '@virt8ra/contract';
import type { SnapshotRealizationSpec, SnapshotRealizationStatus, SnapshotsFacet } from '@virt8ra/driver';
import { capabilities } from './capability.js';
import { assertSame, createObjectFacet, keyOnHost, type ObjectTranslation, type SiteFleet } from './object-facet.js';

const translation: ObjectTranslation<'snapshot', SnapshotRealizationSpec, SnapshotRealizationStatus> = {
  type: 'snapshot',
  toDesired: ({ volumes, reverts }, { key, host }): DesiredSnapshot => {
    if (volumes.length === 0) throw new Problem('unsupported', 'a snapshot needs a block storage');
    if (volumes.length > capabilities.maxVolumesPerInstance)
      throw new Problem(
        'unsupported',
        `a snapshot has at most ${capabilities.maxVolumesPerInstance} block storages, not ${volumes.length}`,
      );
    return { key, volumes: volumes.map((volume) => ({ volumeKey: keyOnHost(volume, 'volume', host) })), reverts };
  },
  assertChangeable: (from, to) => {
    assertSame('a snapshot', from, to, ['volumes']);
    if ((to.reverts ?? 0) < (from.reverts ?? 0)) throw new Problem('unsupported', 'what was asked of a snapshot cannot be taken back');
  },
  awaited: ({ volumes }) => ({ state: 'waiting', volumes: volumes.map(() => ({ sizeBytes: 0 })), reverted: 0 }),
  read: (observed, desired) => ({
    status: statusFromObserved(observed),
    changing: observed.state !== 'taken' || (desired?.reverts ?? 0) > observed.reverted,
  }),
};

export function createSnapshotsFacet(site: SiteFleet): SnapshotsFacet {
  return createObjectFacet(site, translation);
}

function statusFromObserved({
  state,
  waitingFor,
  takenAt,
  consistency,
  volumes,
  reverted,
  problem,
}: ObservedSnapshot): SnapshotRealizationStatus {
  return {
    state,
    ...(waitingFor === undefined ? {} : { waitingFor }),
    ...(takenAt === undefined ? {} : { takenAt }),
    ...(consistency === undefined ? {} : { consistency }),
    volumes: volumes.map(({ sizeBytes }) => ({ sizeBytes })),
    reverted,
    ...(problem === undefined ? {} : { problem }),
  };
}
