import { type ApiDescription, pathParameter, ref, responsesOf, text } from './open-api-shapes.js';

export const eventDescription: ApiDescription = {
  schemas: {
    FeedEvent: {
      type: 'object',
      description: 'data of a message of the change feed; its id is the cursor behind which the feed resumes',
      required: ['type', 'kind', 'ref'],
      properties: {
        type: { type: 'string', description: 'put, status, placement, deleted, progress; there may be others' },
        kind: text,
        ref: { type: 'string', description: 'URN of the resource' },
        resource: { type: 'object' },
        progress: ref('Progress'),
      },
    },
  },
  paths: {
    '/providers/virt8ra.events/v1beta1/tenants/{tenant}/events': {
      parameters: [pathParameter('tenant')],
      get: {
        operationId: 'watch-events',
        tags: ['virt8ra.events'],
        summary: 'the change feed; resumes behind last-event-id or since',
        parameters: [
          { name: 'kinds', in: 'query', schema: text, description: 'comma-separated' },
          { name: 'labels', in: 'query', schema: text },
          { name: 'since', in: 'query', schema: text, description: 'id of an event, or now' },
          { name: 'last-event-id', in: 'header', schema: text },
        ],
        responses: responsesOf(
          { '200': { description: 'Messages with a FeedEvent as their data', content: { 'text/event-stream': { schema: text } } } },
          [400, 401, 403, 500],
        ),
      },
    },
  },
};
