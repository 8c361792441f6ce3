import { type Kind, partsOfScope, region } from '@virt8ra/contract';
import {
  type ApiDescription,
  body,
  type Json,
  listParameters,
  listSchema,
  lock,
  pathParameter,
  ref,
  resourceSchema,
  responsesOf,
  sharedSchemas,
} from './open-api-shapes.js';

/** The served description (OpenAPI 3.1): of the kinds, and of the routes that are no kind's. Shapes are JSON Schema already. */
export function openApiOf(kinds: readonly Kind[], others: readonly ApiDescription[]): Json {
  const schemas: Record<string, unknown> = { ...sharedSchemas };
  const paths: Record<string, unknown> = {};
  for (const other of others) {
    Object.assign(schemas, other.schemas);
    Object.assign(paths, other.paths);
  }
  for (const kind of kinds) {
    const name = componentName(kind);
    schemas[name] = resourceSchema(kind);
    Object.assign(paths, pathsOf(kind, name));
  }
  return {
    openapi: '3.1.0',
    info: { title: 'Virt8ra', version: 'v1', license: { name: 'Apache-2.0', identifier: 'Apache-2.0' } },
    security: [{ bearer: [] }],
    paths,
    components: { schemas, securitySchemes: { bearer: { type: 'http', scheme: 'bearer', bearerFormat: 'JWT' } } },
  };
}

function pathsOf(kind: Kind, name: string): Json {
  const parts = partsOfScope[kind.scope];
  const parameters = parts.map(pathParameter);
  const collection = collectionPath(kind);
  const item = `${collection}/{name}`;
  const operation = (verb: string, rest: Json): Json => ({
    operationId: `${verb}-${kind.kind}`,
    tags: [kind.provider],
    summary: kind.summary,
    ...rest,
  });
  const found = { '200': body(ref(name), 'The resource') };
  const accepted: Json = { '202': { description: 'Accepted' } };
  const paths: Record<string, unknown> = {
    [collection]: {
      parameters,
      get: operation('list', {
        parameters: listParameters,
        responses: responsesOf({ '200': body(listSchema(name), 'A page') }, [400, 401, 403, 500]),
      }),
    },
    [item]: {
      parameters: [...parameters, pathParameter('name')],
      get: operation('get', { responses: responsesOf(found, [400, 401, 403, 404, 500]) }),
      ...(kind.writable
        ? {
            put: operation('put', {
              parameters: [lock],
              requestBody: { required: true, content: { 'application/json': { schema: ref(name) } } },
              responses: responsesOf(
                { '200': body(ref(name), 'Replaced'), '201': body(ref(name), 'Created') },
                [400, 401, 403, 404, 409, 412, 422, 500],
              ),
            }),
            delete: operation('delete', { parameters: [lock], responses: responsesOf(accepted, [400, 401, 403, 404, 409, 412, 500]) }),
          }
        : {}),
    },
  };
  if (kind.kind !== region.kind) {
    paths[`${item}/progress`] = {
      parameters: [...parameters, pathParameter('name')],
      get: operation('progress-of', {
        responses: responsesOf({ '200': body(ref('Progress'), 'Progress of what is under way') }, [400, 401, 403, 404, 500]),
      }),
    };
  }
  for (const action of kind.actions) {
    const shape = kind.actionBodies[action];
    const answer = kind.answers[action];
    paths[`${item}/${action}`] = {
      parameters: [...parameters, pathParameter('name')],
      post: operation(action, {
        parameters: [lock],
        ...(shape === undefined ? {} : { requestBody: { required: false, content: { 'application/json': { schema: shape } } } }),
        responses: responsesOf(answer === undefined ? accepted : { '200': body(answer, 'Done, with an answer') }, [
          ...([400, 401, 403, 404, 409, 412] as const),
          ...(shape === undefined ? [] : ([422] as const)),
          500,
        ]),
      }),
    };
  }
  return paths;
}

/** As the description writes it, with `{tenant}` and so on. */
export function collectionPath(kind: Kind): string {
  const parents = partsOfScope[kind.scope].map((part) => `/${part}s/{${part}}`).join('');
  return `/providers/${kind.provider}/${kind.version}${parents}/${kind.collection}`;
}

function componentName(kind: Kind): string {
  return kind.kind.replace(/(^|-)([a-z])/g, (_match, _dash, letter: string) => letter.toUpperCase());
}
