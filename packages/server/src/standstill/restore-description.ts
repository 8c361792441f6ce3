import { RestoreDifferences, RestoreRelease, RestoreReleased } from '@virt8ra/contract';
import { type ApiDescription, body, ref, responsesOf } from '../http/open-api-shapes.js';

const base = '/providers/virt8ra.restore/v1beta1';

export const restoreDescription: ApiDescription = {
  schemas: { RestoreDifferences, RestoreRelease, RestoreReleased },
  paths: {
    [`${base}/differences`]: {
      get: {
        operationId: 'restore-differences',
        tags: ['virt8ra.restore'],
        summary: 'after a restore of the control plane: what differs between its database and the hosts',
        responses: responsesOf({ '200': body(ref('RestoreDifferences'), 'Hosts and differences') }, [401, 403, 500]),
      },
    },
    [`${base}/release`]: {
      post: {
        operationId: 'restore-release',
        tags: ['virt8ra.restore'],
        summary: 'ends the standstill after a restore, for every host that was compared',
        requestBody: { required: false, content: { 'application/json': { schema: ref('RestoreRelease') } } },
        responses: responsesOf({ '200': body(ref('RestoreReleased'), 'What was done') }, [400, 401, 403, 409, 422, 500]),
      },
    },
  },
};
