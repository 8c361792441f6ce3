import type { Kind } from '@virt8ra/contract';
import { partsOfScope } from './request-address.js';

type Json = Readonly<Record<string, unknown>>;

const text: Json = { type: 'string' };
const problemContent: Json = { 'application/problem+json': { schema: { $ref: '#/components/schemas/Problem' } } };
const problem: Json = { description: 'A problem document', content: problemContent };
const ref = (name: string): Json => ({ $ref: `#/components/schemas/${name}` });
const body = (schema: Json, description: string): Json => ({ description, content: { 'application/json': { schema } } });

const listParameters: readonly Json[] = [
  {
    name: 'labels',
    in: 'query',
    schema: text,
    description: 'Label selector: key=value, !=, >, >=, <, <=, * as wildcard; a comma means AND',
  },
  { name: 'limit', in: 'query', schema: { type: 'integer', minimum: 1, maximum: 10000, default: 1000 } },
  { name: 'skipToken', in: 'query', schema: text, description: 'metadata.skipToken of the page before' },
];
const lock: Json = {
  name: 'if-unmodified-since',
  in: 'header',
  schema: { type: 'integer', minimum: 0 },
  description: 'resourceVersion that was read; 0: must not exist yet',
};

/** The served description (OpenAPI 3.1), derived from the kinds. Shapes are JSON Schema already. */
export function openApiOf(kinds: readonly Kind[]): Json {
  const schemas: Record<string, unknown> = { Problem: problemSchema, Progress: { type: 'object' } };
  const paths: Record<string, unknown> = { ...eventPaths };
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
  const collection = `/providers/${kind.provider}/${kind.version}${parts.map((part) => `/${part}s/{${part}}`).join('')}/${kind.collection}`;
  const item = `${collection}/{name}`;
  const operation = (verb: string, rest: Json): Json => ({
    operationId: `${verb}-${kind.kind}`,
    tags: [kind.provider],
    summary: kind.summary,
    ...rest,
  });
  const found = body(ref(name), 'The resource');
  const accepted: Json = { '202': { description: 'Accepted' }, default: problem };
  const list = {
    type: 'object',
    required: ['items', 'metadata'],
    properties: { items: { type: 'array', items: ref(name) }, metadata: { type: 'object' } },
  };
  const paths: Record<string, unknown> = {
    [collection]: {
      parameters,
      get: operation('list', { parameters: listParameters, responses: { '200': body(list, 'A page'), default: problem } }),
    },
    [item]: {
      parameters: [...parameters, pathParameter('name')],
      get: operation('get', { responses: { '200': found, default: problem } }),
      ...(kind.writable
        ? {
            put: operation('put', {
              parameters: [lock],
              requestBody: { required: true, content: { 'application/json': { schema: ref(name) } } },
              responses: { '200': body(ref(name), 'Replaced'), '201': body(ref(name), 'Created'), default: problem },
            }),
            delete: operation('delete', { parameters: [lock], responses: accepted }),
          }
        : {}),
    },
    [`${item}/progress`]: {
      parameters: [...parameters, pathParameter('name')],
      get: operation('progress-of', { responses: { '200': body(ref('Progress'), 'Progress of what is under way'), default: problem } }),
    },
  };
  for (const action of kind.actions) {
    const shape = kind.actionBodies[action];
    paths[`${item}/${action}`] = {
      parameters: [...parameters, pathParameter('name')],
      post: operation(action, {
        parameters: [lock],
        ...(shape === undefined ? {} : { requestBody: { required: false, content: { 'application/json': { schema: shape } } } }),
        responses: { '200': body({}, 'Done, with an answer'), ...accepted },
      }),
    };
  }
  return paths;
}

function resourceSchema(kind: Kind): Json {
  const map = { type: 'object', additionalProperties: text };
  return {
    type: 'object',
    description: kind.summary,
    required: ['spec'],
    properties: {
      labels: map,
      annotations: map,
      extensions: map,
      metadata: { type: 'object', readOnly: true },
      spec: kind.spec,
      ...(kind.status === undefined ? {} : { status: { ...kind.status, readOnly: true } }),
    },
  };
}

function componentName(kind: Kind): string {
  return kind.kind.replace(/(^|-)([a-z])/g, (_match, _dash, letter: string) => letter.toUpperCase());
}

function pathParameter(name: string): Json {
  return { name, in: 'path', required: true, schema: { type: 'string', maxLength: name === 'name' ? 128 : 64 } };
}

const problemSchema: Json = {
  type: 'object',
  required: ['type', 'title', 'status', 'detail', 'code', 'sources'],
  properties: {
    type: text,
    title: text,
    status: { type: 'integer' },
    detail: text,
    instance: text,
    code: text,
    sources: { type: 'array', items: { type: 'object', properties: { pointer: text, parameter: text } } },
    meta: { type: 'object' },
  },
};

const eventPaths: Json = {
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
      responses: { '200': { description: 'Events', content: { 'text/event-stream': { schema: text } } }, default: problem },
    },
  },
};
