import { Problem } from '@virt8ra/contract';
import type { BlockStorageRealizationSpec, BlockStorageRealizationStatus, BlockStoragesFacet } from '@virt8ra/driver';
import { troubleOf } from './networks.js';
import { assertSame, createObjectFacet, type ObjectTranslation, type SiteFleet } from './object-facet.js';

const translation: ObjectTranslation<'volume', BlockStorageRealizationSpec, BlockStorageRealizationStatus> = {
  type: 'volume',
  toDesired: ({ sizeBytes, source, settle, digestRequest, limits }, { key }) => ({
    key,
    sizeBytes,
    source,
    settle,
    ...(digestRequest === undefined ? {} : { digestRequest }),
    ...(limits === undefined ? {} : { limits }),
  }),
  assertChangeable: (from, to) => {
    assertSame('a block storage', from, to, ['source']);
    if (to.sizeBytes < from.sizeBytes) throw new Problem('unsupported', 'a block storage cannot shrink');
    if (from.settle && !to.settle) throw new Problem('unsupported', 'a settled block storage cannot be unsettled');
  },
  awaited: ({ source, sizeBytes }, host) => ({ state: source.type === 'incoming' ? 'incoming' : 'creating', sizeBytes, host }),
  read: ({ state, sizeBytes, allocatedBytes, digest, problem }, desired, host) => ({
    status: {
      state,
      sizeBytes,
      host,
      ...(allocatedBytes === undefined ? {} : { allocatedBytes }),
      ...(digest === undefined ? {} : { digest }),
      ...(problem === undefined ? {} : { problem }),
    },
    changing:
      state === 'creating' ||
      state === 'incoming' ||
      state === 'settling' ||
      (desired !== undefined &&
        ((desired.settle && state === 'arrived') ||
          desired.sizeBytes > sizeBytes ||
          (desired.digestRequest !== undefined && desired.digestRequest !== digest?.request))),
    ...troubleOf(state === 'failed', problem),
  }),
};

export function createBlockStoragesFacet(site: SiteFleet): BlockStoragesFacet {
  return createObjectFacet(site, translation);
}
