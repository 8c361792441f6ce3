import { UsageRecord } from '@virt8ra/contract';
import { type ApiDescription, type Json, listSchema, pageParameters, pathParameter, responsesOf, text } from '../http/open-api-shapes.js';

const base = '/providers/virt8ra.usage/v1beta1/tenants/{tenant}';
const bound = (name: string, description: string): Json => ({ name, in: 'query', schema: text, description });
const parameters: readonly Json[] = [
  bound('from', 'first hour, such as 2026-01-31 or 2026-01-31T12:00:00Z'),
  bound('to', 'where it ends, itself not included'),
  ...pageParameters,
];
const records = (operationId: string, summary: string): Json => ({
  operationId,
  tags: ['virt8ra.usage'],
  summary,
  parameters,
  responses: responsesOf(
    {
      '200': {
        description: 'A page',
        headers: { 'x-skip-token': { description: 'of what is no JSON: the next page', schema: text } },
        content: {
          'application/json': { schema: listSchema('UsageRecord') },
          'text/csv': { schema: text },
          'application/x-ndjson': { schema: text },
        },
      },
    },
    [400, 401, 403, 500],
  ),
});

export const usageDescription: ApiDescription = {
  schemas: { UsageRecord },
  paths: {
    [`${base}/usage-records`]: {
      parameters: [pathParameter('tenant')],
      get: records('list-usage-of-tenant', 'what a tenant used, hour by hour'),
    },
    [`${base}/workspaces/{workspace}/usage-records`]: {
      parameters: ['tenant', 'workspace'].map(pathParameter),
      get: records('list-usage-of-workspace', 'what a workspace used, hour by hour'),
    },
  },
};
