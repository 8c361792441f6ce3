import { type ApiDescription, body, type Json, pathParameter, responsesOf, text } from './open-api-shapes.js';

const open = { tags: ['server'], security: [] } as const;
const object = (properties: Readonly<Record<string, Json>>): Json => ({ type: 'object', required: Object.keys(properties), properties });
const plain = (type: string, description: string): Json => ({ description, content: { [type]: { schema: text } } });
const ofPage = { 'text/html': { schema: text }, 'text/css': { schema: text }, 'text/javascript': { schema: text } };

/** What is answered without a token. */
export const operationDescription: ApiDescription = {
  paths: {
    '/.wellknown/secapi': {
      get: {
        ...open,
        operationId: 'discover',
        summary: 'where each API is',
        responses: responsesOf(
          {
            '200': body(
              object({ version: text, endpoints: { type: 'array', items: object({ provider: text, url: text }) } }),
              'Version and endpoints',
            ),
          },
          [500],
        ),
      },
    },
    '/openapi.json': {
      get: {
        ...open,
        operationId: 'describe',
        summary: 'this description',
        responses: responsesOf({ '200': body({ type: 'object' }, 'An OpenAPI document') }, []),
      },
    },
    '/docs': {
      get: {
        ...open,
        operationId: 'browse',
        summary: 'this description, to be read in a browser',
        responses: responsesOf({ '200': plain('text/html', 'A page') }, []),
      },
    },
    '/docs/{file}': {
      parameters: [pathParameter('file')],
      get: {
        ...open,
        operationId: 'browse-file',
        summary: 'what the page of the description is made of',
        responses: responsesOf({ '200': { description: 'A file', content: ofPage } }, [404]),
      },
    },
    '/healthz': {
      get: {
        ...open,
        operationId: 'is-alive',
        summary: 'the process lives',
        responses: responsesOf({ '200': body(object({ status: { type: 'string', enum: ['ok'] } }), 'It does') }, []),
      },
    },
    '/readyz': {
      get: {
        ...open,
        operationId: 'is-ready',
        summary: 'whether this server should get requests',
        responses: responsesOf({ '200': body(object({ status: { type: 'string', enum: ['ready'] } }), 'It should') }, [503]),
      },
    },
    '/metrics': {
      get: {
        ...open,
        operationId: 'read-metrics',
        summary: 'figures of this server, for Prometheus',
        responses: responsesOf({ '200': plain('text/plain', 'Figures') }, [500]),
      },
    },
  },
};
