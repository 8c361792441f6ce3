import { instance, partsOfScope, scrollbackMostBytes } from '@virt8ra/contract';
import { collectionPath } from './open-api.js';
import { type ApiDescription, body, type Json, pathParameter, ref, responsesOf, text } from './open-api-shapes.js';
import { defaultScrollbackBytes } from './stream-request.js';

const item = `${collectionPath(instance)}/{name}`;
const parameters = [...partsOfScope[instance.scope], 'name'].map(pathParameter);
const tags = [instance.provider];

const port = { name: 'port', in: 'path', required: true, schema: { type: 'integer', minimum: 1, maximum: 65535 } };
const consoleQuery: readonly Json[] = [
  { name: 'write', in: 'query', schema: { type: 'string', enum: ['no', 'free', 'take'], default: 'free' } },
  {
    name: 'scrollback',
    in: 'query',
    schema: { type: 'integer', minimum: 0, maximum: scrollbackMostBytes, default: defaultScrollbackBytes },
    description: 'bytes of the past',
  },
];

/** GET with `upgrade: websocket` opens a stream, POST gives a browser a ticket for it. */
function stream(place: string, what: string, query: readonly Json[]): Json {
  return {
    get: {
      operationId: `open-${place}`,
      tags,
      summary: `${what}, as a WebSocket with the subprotocol virt8ra.stream.v1`,
      parameters: query,
      responses: responsesOf({ '101': { description: 'The place is reached' } }, [400, 401, 403, 404, 409, 422, 503]),
    },
    post: {
      operationId: `ticket-for-${place}`,
      tags,
      summary: `a ticket for ${what}, for callers that cannot send a token`,
      parameters: query,
      responses: responsesOf({ '200': body(ref('StreamTicket'), 'It works once, for this path') }, [400, 401, 403, 404, 500]),
    },
  };
}

export const streamDescription: ApiDescription = {
  schemas: {
    StreamTicket: {
      type: 'object',
      required: ['protocols', 'expiresAt'],
      properties: { protocols: { type: 'array', items: text, description: 'subprotocols to offer' }, expiresAt: text },
    },
  },
  paths: {
    [`${item}/console`]: { parameters, ...stream('console', 'its serial console', consoleQuery) },
    [`${item}/vnc`]: { parameters, ...stream('vnc', 'its screen', []) },
    [`${item}/ports/{port}`]: { parameters: [...parameters, port], ...stream('port', 'a TCP port of it', []) },
    [`${item}/console/log`]: {
      parameters,
      get: {
        operationId: 'read-console-log',
        tags,
        summary: 'all that is kept of its console’s output',
        responses: responsesOf(
          {
            '200': { description: 'Octets', content: { 'application/octet-stream': { schema: { type: 'string', format: 'binary' } } } },
          },
          [400, 401, 403, 404, 409, 500, 503],
        ),
      },
    },
  },
};
