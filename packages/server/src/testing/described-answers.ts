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

/** Says what an answer has that the served description does not: a status, a body or a member of it. What is not described is not looked at. */
export function createAnswerCheck(document: unknown): (method: string, path: string, status: number, body: unknown) => readonly string[] {
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

  return (method, path, status, body) => {
    const bare = path.split('?', 1)[0] ?? path;
    // A literal segment goes before a parameter: more of the pattern is said.
    const route = routes.find(({ pattern, item }) => pattern.test(bare) && item[method.toLowerCase()] !== undefined);
    if (route === undefined) return [];
    const { responses } = route.item[method.toLowerCase()] as Operation;
    const response = responses[String(status)] ?? (status >= 400 ? responses['default'] : undefined);
    if (response === undefined) return [`${method} ${bare} answers ${status}, which is not described`];
    const schema = Object.values(response.content ?? {})[0]?.schema;
    if (schema === undefined) return body === undefined ? [] : [`${method} ${bare} answers ${status} with a body that is not described`];
    const key = JSON.stringify(schema);
    const check = checks.get(key) ?? createShapeCheck(inlined(schema) as TSchema);
    checks.set(key, check);
    return check(body, '').map(
      ({ pointer, message }) => `${method} ${bare} answers ${status}, of which ${pointer || 'the body'} ${message}`,
    );
  };
}
