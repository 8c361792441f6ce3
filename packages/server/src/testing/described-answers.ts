import type { TSchema } from 'typebox';
import { createShapeCheck, type ShapeCheck } from '../http/shape-check.js';

type Json = Readonly<Record<string, unknown>>;

interface Described {
  readonly paths: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
  readonly components: { readonly schemas: Readonly<Record<string, Json>> };
}

interface Operation {
  readonly responses: Readonly<Record<string, { readonly content?: Readonly<Record<string, { readonly schema: Json }>> }>>;
}

export interface CheckedAnswer {
  readonly status: number;
  /** The `content-type` header; undefined: there is no body, or it is not looked at. */
  readonly type?: string | undefined;
  /** Parsed where it is JSON; undefined: there is none, or it is not looked at. */
  readonly body: unknown;
}

/**
 * Says what an answer has that the served description does not: a route, a status, a type of content, a body or a member of it. Of what is no
 * route there may be nothing but refusals, which are problems.
 */
export function createAnswerCheck(document: unknown): (method: string, path: string, answer: CheckedAnswer) => readonly string[] {
  const { paths, components } = document as Described;
  const routes = Object.entries(paths).map(([path, item]) => ({
    pattern: new RegExp(`^${path.replaceAll(/[.]/g, '\\.').replaceAll(/\{\w+\}/g, '[^/]+')}$`),
    item,
  }));
  const checks = new Map<string, ShapeCheck>();

  function inlined(schema: unknown): unknown {
    if (Array.isArray(schema)) return schema.map(inlined);
    if (typeof schema !== 'object' || schema === null) return schema;
    const { $ref } = schema as { readonly $ref?: string };
    if ($ref !== undefined) return inlined(components.schemas[$ref.split('/').at(-1) ?? '']);
    return Object.fromEntries(Object.entries(schema).map(([name, member]) => [name, inlined(member)]));
  }

  const checkOf = (schema: Json): ShapeCheck => {
    const key = JSON.stringify(schema);
    const check = checks.get(key) ?? createShapeCheck(inlined(schema) as TSchema);
    checks.set(key, check);
    return check;
  };

  return (method, path, { status, type, body }) => {
    const bare = path.split('?', 1)[0] ?? path;
    const said = `${method} ${bare} answers ${status}`;
    // A literal segment goes before a parameter: more of the pattern is said.
    const named = (of: string) => routes.find(({ pattern, item }) => pattern.test(bare) && item[of] !== undefined)?.item[of];
    // Whatever answers GET answers HEAD, as HTTP has it.
    const operation = (named(method.toLowerCase()) ?? (method === 'HEAD' ? named('get') : undefined)) as Operation | undefined;
    if (operation === undefined) {
      const problem = components.schemas['Problem'];
      if (status < 400) return [`${said}, and there is no such route in the description`];
      return body === undefined || problem === undefined ? [] : shown(said, checkOf(problem)(body, ''));
    }
    const { responses } = operation;
    const response = responses[String(status)] ?? (status >= 400 ? responses['default'] : undefined);
    if (response === undefined) return [`${said}, which is not described`];
    const content = response.content ?? {};
    const bareType = type?.split(';', 1)[0];
    if (bareType !== undefined && method !== 'HEAD' && !(bareType in content)) return [`${said} as ${bareType}, which is not described`];
    if (body === undefined) return [];
    const schema = (bareType === undefined ? Object.values(content)[0] : content[bareType])?.schema;
    return schema === undefined ? [`${said} with a body that is not described`] : shown(said, checkOf(schema)(body, ''));
  };
}

function shown(said: string, faults: ReturnType<ShapeCheck>): readonly string[] {
  return faults.map(({ pointer, message }) => `${said}, of which ${pointer || 'the body'} ${message}`);
}
