import { type Kind, namePattern, Progress, partsOfScope, region } from '@virt8ra/contract';

/** What the description says that is no kind's own: SECA's envelope, lists, problems and parameters. */

export type Json = Readonly<Record<string, unknown>>;

/** What some routes are, beside what the kinds say: their paths, and the shapes that these refer to. */
export interface ApiDescription {
  readonly paths: Json;
  readonly schemas?: Json;
}

export const text: Json = { type: 'string' };
const limited = (maxLength: number): Json => ({ type: 'string', maxLength });
const time: Json = { type: 'string', format: 'date-time' };
export const ref = (name: string): Json => ({ $ref: `#/components/schemas/${name}` });
export const body = (schema: object, description: string): Json => ({ description, content: { 'application/json': { schema } } });

/** Of SKUs: the catalogue's, upper case included, and never written by clients. */
const looseNames = { minLength: 1, maxLength: 128, pattern: '^[A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?$' };

/** `metadata` of a kind's resources: which members there are follows from its scope. */
export function metadataSchema(kind: Kind): Json {
  const parts = partsOfScope[kind.scope].filter((part) => part !== 'cluster');
  const regional = kind.regional ? { region: limited(64) } : {};
  return {
    type: 'object',
    readOnly: true,
    required: [
      ...['name', 'provider', 'resource', 'verb', 'apiVersion', 'kind', 'ref', 'createdAt', 'lastModifiedAt', 'resourceVersion'],
      ...parts,
      ...Object.keys(regional),
    ],
    properties: {
      name: { type: 'string', ...(kind.collection === 'skus' ? looseNames : { minLength: 1, maxLength: 128, pattern: namePattern }) },
      provider: limited(64),
      resource: limited(256),
      verb: limited(7),
      apiVersion: limited(16),
      kind: { type: 'string', enum: [kind.kind] },
      ref: text,
      createdAt: time,
      lastModifiedAt: time,
      deletedAt: time,
      resourceVersion: { type: 'integer', format: 'int64' },
      ...Object.fromEntries(parts.map((part) => [part, limited(64)])),
      ...regional,
    },
  };
}

export function resourceSchema(kind: Kind): Json {
  const map = (value: Json): Json => ({ type: 'object', additionalProperties: value });
  return {
    type: 'object',
    description: kind.summary,
    required: ['spec'],
    properties: {
      ...(kind.kind === region.kind ? {} : { labels: map(limited(63)), annotations: map(limited(1024)), extensions: map(text) }),
      metadata: metadataSchema(kind),
      spec: kind.spec,
      ...(kind.status === undefined ? {} : { status: { ...kind.status, readOnly: true } }),
    },
  };
}

export function listSchema(item: string): Json {
  return {
    type: 'object',
    required: ['items', 'metadata'],
    properties: { items: { type: 'array', items: ref(item) }, metadata: ref('ListMetadata') },
  };
}

/** What is no page: all there is. */
export function itemsOf(item: string): Json {
  return { type: 'object', required: ['items'], properties: { items: { type: 'array', items: ref(item) } } };
}

const problemContent: Json = { 'application/problem+json': { schema: ref('Problem') } };
const problem: Json = { description: 'A problem document', content: problemContent };

const refusals = {
  400: 'The request is malformed',
  401: 'There is no token, or it is not valid',
  403: 'The token allows no such thing',
  404: 'It, or what it is to be in, does not exist',
  409: 'Its state, or what uses it, does not allow that; or there is no room',
  412: 'It is at another version than was read',
  422: 'A rule of the kind does not hold, or nothing here can make it',
  413: 'It is more than was declared',
  500: 'The control plane failed',
  503: 'Not now: it may be better later',
} as const;

/** Responses of an operation: what it answers, and what it refuses with. The rest (such as 429) are problems too. */
export function responsesOf(answers: Json, codes: readonly (keyof typeof refusals)[]): Json {
  const refused = codes.map((code) => [String(code), { description: refusals[code], content: problemContent }] as const);
  return { ...answers, ...Object.fromEntries(refused), default: problem };
}

/** Of everything that comes by pages. */
export const pageParameters: readonly Json[] = [
  { name: 'limit', in: 'query', schema: { type: 'integer', minimum: 1, maximum: 10000, default: 1000 } },
  { name: 'skipToken', in: 'query', schema: text, description: 'metadata.skipToken of the page before' },
];

export const listParameters: readonly Json[] = [
  {
    name: 'labels',
    in: 'query',
    schema: text,
    description: 'Label selector: key=value, !=, >, >=, <, <=, * as wildcard; a comma means AND',
  },
  ...pageParameters,
  {
    name: 'Accept',
    in: 'header',
    schema: {
      type: 'string',
      enum: ['application/json', 'application/json; deleted=true', 'application/json; deleted=only'],
      default: 'application/json',
    },
    description: 'With deleted, what was removed in the last 30 days is listed too, or only that',
  },
];

export const lock: Json = {
  name: 'if-unmodified-since',
  in: 'header',
  schema: { type: 'integer', minimum: 0 },
  description: 'resourceVersion that was read; 0: must not exist yet',
};

export function pathParameter(name: string): Json {
  const schema = name === 'name' ? { type: 'string', minLength: 1, maxLength: 128, pattern: namePattern } : limited(64);
  return { name, in: 'path', required: true, schema };
}

export const sharedSchemas: Json = {
  ListMetadata: {
    type: 'object',
    required: ['provider', 'resource', 'verb'],
    properties: { provider: limited(64), resource: limited(256), verb: limited(7), skipToken: text },
  },
  Problem: {
    type: 'object',
    required: ['type', 'title', 'status', 'detail', 'instance', 'code', 'sources'],
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
  },
  Progress,
};
