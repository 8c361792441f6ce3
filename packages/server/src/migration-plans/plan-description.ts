import { MigrationPlan, MigrationPlanRequest } from '@virt8ra/contract';
import { type ApiDescription, body, pathParameter, ref, responsesOf } from '../http/open-api-shapes.js';

export const planDescription: ApiDescription = {
  schemas: { MigrationPlan, MigrationPlanRequest },
  paths: {
    '/providers/virt8ra.migration/v1beta1/tenants/{tenant}/workspaces/{workspace}/migration-plans': {
      parameters: ['tenant', 'workspace'].map(pathParameter),
      post: {
        operationId: 'plan-migration',
        tags: ['virt8ra.migration'],
        summary: 'what a migration would do and take: where it would go, how, what stands in the way; changes nothing',
        requestBody: { required: true, content: { 'application/json': { schema: ref('MigrationPlanRequest') } } },
        responses: responsesOf({ '200': body(ref('MigrationPlan'), 'The plan') }, [400, 401, 403, 404, 422, 500, 503]),
      },
    },
  },
};
