/** Differences between a contract as SECA has it and the description that a server serves, in words. */

export interface Difference {
  /** Operation, or resource and member: `network/nics spec.addresses`. */
  readonly where: string;
  readonly what: string;
}

export interface Schema {
  readonly $ref?: string;
  readonly allOf?: readonly Schema[];
  readonly anyOf?: readonly Schema[];
  readonly type?: string;
  readonly const?: unknown;
  readonly enum?: readonly unknown[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly additionalProperties?: boolean | Schema;
  readonly patternProperties?: Readonly<Record<string, Schema>>;
  readonly items?: Schema;
  readonly [rule: string]: unknown;
}

interface Parameter {
  readonly name: string;
  readonly in: string;
  readonly schema: Schema;
}

interface Response {
  readonly content?: Readonly<Record<string, { readonly schema: Schema }>>;
}

interface Operation {
  readonly parameters?: readonly Parameter[];
  readonly requestBody?: { readonly content: Readonly<Record<string, { readonly schema: Schema }>> };
  readonly responses: Readonly<Record<string, Response>>;
}

type PathItem = Readonly<Partial<Record<(typeof methods)[number], Operation>>> & { readonly parameters?: readonly Parameter[] };

export interface OpenApi {
  readonly servers?: readonly { readonly url: string }[];
  readonly paths: Readonly<Record<string, PathItem>>;
  readonly components: { readonly schemas: Readonly<Record<string, Schema>> };
}

const methods = ['get', 'put', 'post', 'delete', 'patch', 'head'] as const;
const rules = ['type', 'minLength', 'maxLength', 'pattern', 'minimum', 'maximum', 'minItems', 'maxItems', 'format'] as const;

/** What `theirs` promises and `ours` does not, or does otherwise, in the paths of `theirs`. */
export function compareApis(theirs: OpenApi, ours: OpenApi): readonly Difference[] {
  const found: Difference[] = [];
  const base = `/providers${/\/providers(\/.+)$/.exec(theirs.servers?.[0]?.url ?? '')?.[1] ?? ''}`;
  for (const [path, item] of Object.entries(theirs.paths)) {
    const served = path.startsWith('/.') ? path : `${base}${path}`;
    for (const method of methods) {
      const operation = item[method];
      if (operation === undefined) continue;
      const own = ours.paths[served]?.[method];
      const where = `${method.toUpperCase()} ${served}`;
      if (own === undefined) found.push({ where, what: 'is missing' });
      else {
        const parameters = [...(ours.paths[served]?.parameters ?? []), ...(own.parameters ?? [])];
        found.push(...compareOperations(where, [theirs, operation], [ours, { ...own, parameters }]));
      }
    }
  }
  return found;
}

function compareOperations(where: string, [theirs, one]: [OpenApi, Operation], [ours, other]: [OpenApi, Operation]): Difference[] {
  const found: Difference[] = [];
  for (const parameter of one.parameters ?? []) {
    const own = other.parameters?.find((each) => each.name.toLowerCase() === parameter.name.toLowerCase() && each.in === parameter.in);
    if (own === undefined) found.push({ where, what: `lacks the ${parameter.in} parameter ${parameter.name}` });
    else found.push(...compareSchemas(`${where} ${parameter.name}`, [theirs, parameter.schema], [ours, own.schema]));
  }
  const codes = (operation: Operation): string[] => Object.keys(operation.responses).filter((code) => code !== 'default');
  for (const code of codes(one)) if (!codes(other).includes(code)) found.push({ where, what: `does not answer ${code}` });
  for (const code of codes(other)) if (!codes(one).includes(code)) found.push({ where, what: `answers ${code} too` });
  for (const [code, response] of Object.entries(one.responses)) {
    const schema = Object.values(response.content ?? {})[0]?.schema;
    const own = Object.values(other.responses[code]?.content ?? {})[0]?.schema;
    if (schema === undefined) continue;
    const what = Number(code) < 400 ? nameOf(where) : 'problem';
    if (own === undefined) found.push({ where, what: `answers ${code} without a body` });
    else found.push(...compareSchemas(what, [theirs, schema], [ours, own]));
  }
  const sent = Object.values(one.requestBody?.content ?? {})[0]?.schema;
  const taken = Object.values(other.requestBody?.content ?? {})[0]?.schema;
  if (sent !== undefined && taken === undefined) found.push({ where, what: 'takes no body' });
  if (sent !== undefined && taken !== undefined) found.push(...compareSchemas(nameOf(where), [theirs, sent], [ours, taken]));
  return found;
}

/** `GET /providers/seca.network/v1/…/nics/{name}` is about `network/nics`. */
function nameOf(where: string): string {
  const [, provider = '', rest = ''] = /seca\.(\w+)\/\w+\/(.*)$/.exec(where) ?? [];
  const collection = rest
    .split('/')
    .filter((segment) => !segment.startsWith('{'))
    .at(-1);
  return provider === '' ? where.split('/').slice(1).join('/') : `${provider}/${collection}`;
}

function compareSchemas(where: string, [theirs, one]: [OpenApi, Schema], [ours, other]: [OpenApi, Schema]): Difference[] {
  const wanted = resolved(theirs, one);
  const served = resolved(ours, other);
  const found: Difference[] = [];
  const differ = (what: string, at = where): void => void found.push({ where: at, what });
  if (served['alsoText'] === true) differ('is taken as a text too');
  for (const rule of rules) {
    if (wanted[rule] === served[rule]) continue;
    // What has no bound there may have one here that nobody meets; that is said as well.
    differ(`${rule} is ${String(served[rule] ?? 'not said')}, not ${String(wanted[rule] ?? 'said')}`);
  }
  const missing = (wanted.enum ?? []).filter((value) => served.enum !== undefined && !served.enum.includes(value));
  if (wanted.enum !== undefined && served.enum === undefined) differ('is any text');
  else if (missing.length > 0 && !where.endsWith('metadata.kind')) differ(`is never ${missing.join(', ')}`);
  const more = (served.enum ?? []).filter((value) => wanted.enum !== undefined && !wanted.enum.includes(value));
  if (more.length > 0) differ(`may be ${more.join(', ')}`);
  if (wanted.enum === undefined && served.enum !== undefined) differ(`is one of ${served.enum.join(', ')} only`);
  // The items of a list are resources like any other.
  const member = (name: string): string => (name === 'items' ? where : where.includes(' ') ? `${where}.${name}` : `${where} ${name}`);
  for (const [name, schema] of Object.entries(wanted.properties ?? {})) {
    const own = served.properties?.[name];
    if (own === undefined) differ('is missing', member(name));
    else found.push(...compareSchemas(member(name), [theirs, schema], [ours, own]));
  }
  for (const name of Object.keys(served.properties ?? {}))
    if (wanted.properties?.[name] === undefined) differ('is an addition', member(name));
  const [needed, given] = [new Set(wanted.required), new Set(served.required)];
  for (const name of needed) if (!given.has(name)) differ('may be absent', member(name));
  for (const name of given) if (!needed.has(name) && wanted.properties?.[name] !== undefined) differ('must be given', member(name));
  if (wanted.items !== undefined) {
    if (served.items === undefined) differ('is no list');
    else found.push(...compareSchemas(where, [theirs, wanted.items], [ours, served.items]));
  }
  const values = [wanted, served].map(({ additionalProperties }) =>
    typeof additionalProperties === 'object' ? additionalProperties : undefined,
  );
  if (values[0] !== undefined && values[1] !== undefined) found.push(...compareSchemas(where, [theirs, values[0]], [ours, values[1]]));
  return found;
}

/** Without references, alternatives of words as one list of words, and a text beside an object noted. */
function resolved(api: OpenApi, schema: Schema): Schema {
  if (schema.$ref !== undefined) return resolved(api, api.components.schemas[schema.$ref.split('/').at(-1) ?? ''] ?? {});
  if (schema.allOf !== undefined) {
    const { allOf, ...rest } = schema;
    const joined = Object.assign({}, ...allOf.map((each) => resolved(api, each)), rest) as Schema;
    return resolved(api, joined);
  }
  if (schema.const !== undefined) return { type: 'string', enum: [schema.const] };
  if (schema.anyOf !== undefined) {
    const all = schema.anyOf.map((each) => resolved(api, each));
    const words = all.flatMap((each) => each.enum ?? []);
    if (all.every((each) => each.enum !== undefined)) return { type: 'string', enum: words };
    const object = all.find((each) => each.type === 'object');
    if (object !== undefined && all.some((each) => each.type === 'string')) return { ...object, alsoText: true };
    const [text] = all;
    // A text, or the empty one.
    return words.includes('') ? { ...text, minLength: undefined } : (text ?? {});
  }
  if (schema.enum !== undefined && schema.type === undefined) return { ...schema, type: 'string' };
  return schema;
}

/** Each difference once. */
export function distinct(differences: readonly Difference[]): readonly Difference[] {
  return [...new Map(differences.map((each) => [`${each.where}\n${each.what}`, each])).values()];
}
