import { activityLog, agentRelease, backupExport, imageImport, instanceImport, type Kind, kinds } from '@virt8ra/contract';
import { auditDescription } from './audit/audit-description.js';
import { describeApi } from './http/describe-api.js';
import type { ApiDescription, Json } from './http/open-api-shapes.js';
import { planDescription } from './migration-plans/plan-description.js';
import { sampleDescription } from './samples/sample-description.js';
import { restoreDescription } from './standstill/restore-description.js';
import { usageDescription } from './usage/usage-description.js';

/** Of the routes that parts beside the kinds add. */
export const extraDescriptions: readonly ApiDescription[] = [
  sampleDescription,
  auditDescription,
  usageDescription,
  restoreDescription,
  planDescription,
];
export const extraKinds: readonly Kind[] = [activityLog];

/** What a server of this release serves at `/openapi.json`, without one. */
export function describedApi(): Json {
  return describeApi({
    kinds,
    withContent: [imageImport.kind, instanceImport.kind, agentRelease.kind],
    withFiles: [backupExport.kind],
    streams: true,
    others: extraDescriptions,
  });
}
