import { Type } from 'typebox';
import { defineKind } from '../kind.js';
import { Zone } from '../shape.js';

/** SECA region: a federation run by one control plane. Its zones are our sites. Tenant-less, read-only, without status. */
export const region = defineKind({
  kind: 'region',
  provider: 'seca.region',
  version: 'v1',
  collection: 'regions',
  scope: 'global',
  regional: false,
  writable: false,
  summary: 'a federation of sites run by one control plane',
  spec: Type.Object({
    availableZones: Type.Array(Zone, { minItems: 1, maxItems: 32 }),
    providers: Type.Array(
      Type.Object({
        name: Type.String({ minLength: 1, maxLength: 64 }),
        version: Type.String({ minLength: 1, maxLength: 16 }),
        url: Type.String({ minLength: 1, maxLength: 4000 }),
      }),
      { minItems: 1, maxItems: 64 },
    ),
  }),
  status: undefined,
});
