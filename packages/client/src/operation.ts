import { Problem } from '@virt8ra/contract';
import type { components, paths } from './generated/open-api.js';
import { bodyOf } from './json-answer.js';
import { segmentOf } from './path.js';
import type { Transport } from './transport.js';

/** Shapes of the description by their names, such as `Schemas['Instance']`. */
export type Schemas = components['schemas'];

export type OperationMethod = 'GET' | 'PUT' | 'POST' | 'DELETE';

type Item<P extends keyof paths, M extends OperationMethod> = paths[P][Lowercase<M> & keyof paths[P]];

/** Paths of the description that have an operation of this method. */
export type PathOf<M extends OperationMethod> = {
  [P in keyof paths]: Item<P, M> extends { readonly responses: unknown } ? P : never;
}[keyof paths];

type Given<Operation, Where extends 'path' | 'query' | 'header'> = Operation extends { parameters: infer Parameters }
  ? Where extends keyof Parameters
    ? Exclude<Parameters[Where], undefined>
    : never
  : never;

/** A key that may be left out where all below it may be. */
type Part<Key extends string, Value> = [Value] extends [never]
  ? unknown
  : Partial<Value> extends Value
    ? { readonly [key in Key]?: Value }
    : { readonly [key in Key]: Value };

type Sent<Operation> = Operation extends { requestBody: { content: { 'application/json': infer Body } } }
  ? { readonly body: Draftable<Body> }
  : Operation extends { requestBody?: { content: { 'application/json': infer Body } } }
    ? { readonly body?: Body }
    : unknown;

/** Of a resource, what a caller writes: the rest is the server's to say. */
type Draftable<Body> = Body extends { readonly spec: unknown } ? Omit<Body, 'metadata' | 'status'> : Body;

/** What an operation takes: `path`, `query` and `header` parameters and a `body`, as the description has them. */
export type OperationInput<M extends OperationMethod, P extends PathOf<M>> = Part<'path', Given<Item<P, M>, 'path'>> &
  Part<'query', Given<Item<P, M>, 'query'>> &
  Part<'header', Given<Item<P, M>, 'header'>> &
  Sent<Item<P, M>> & { readonly signal?: AbortSignal | undefined };

type Content<Response> = Response extends { content: infer Types }
  ? 'application/json' extends keyof Types
    ? Told<Types['application/json']>
    : string
  : undefined;

/** Answers always have what is the server's to say, though the same shape, written, may lack it. */
type Told<Shape> = Shape extends { readonly metadata?: infer Metadata; readonly spec: unknown }
  ? Omit<Shape, 'metadata'> & { readonly metadata: NonNullable<Metadata> }
  : Shape extends { items: (infer Entry)[]; metadata: unknown }
    ? Omit<Shape, 'items'> & { readonly items: readonly Told<Entry>[] }
    : Shape;

/** What an operation answers. Refusals are raised and have no part in it. */
export type OperationAnswer<M extends OperationMethod, P extends PathOf<M>> =
  Item<P, M> extends { responses: infer Responses } ? { [Code in keyof Responses]: Content<Responses[Code]> }[keyof Responses] : never;

type Arguments<Input> = Partial<Input> extends Input ? [input?: Input] : [input: Input];

/**
 * One operation of the description, by method and path. Answers the JSON body, the text of another body, or undefined where there is none. Raises the
 * server's problem.
 */
export type Request = <M extends OperationMethod, P extends PathOf<M>>(
  method: M,
  path: P,
  ...input: Arguments<OperationInput<M, P>>
) => Promise<OperationAnswer<M, P>>;

interface AnyInput {
  readonly path?: Readonly<Record<string, string | number>>;
  readonly query?: Readonly<Record<string, string | number | undefined>>;
  readonly header?: Readonly<Record<string, string | number | undefined>>;
  readonly body?: unknown;
  readonly signal?: AbortSignal | undefined;
}

export function createRequest(transport: Transport): Request {
  const request = async (method: OperationMethod, template: string, input: AnyInput = {}): Promise<unknown> => {
    const headers = Object.entries(input.header ?? {}).flatMap(([name, value]) =>
      value === undefined ? [] : [[name.toLowerCase(), String(value)]],
    );
    const answer = await transport.call({
      method,
      path: filled(template, input.path ?? {}),
      headers: Object.fromEntries(headers) as Record<string, string>,
      signal: input.signal,
      ...(input.query === undefined ? {} : { query: input.query }),
      ...(input.body === undefined ? {} : { json: input.body }),
    });
    if (answer.text === '') return undefined;
    return /^application\/json\b/.test(answer.headers['content-type'] ?? 'application/json') ? bodyOf(answer) : answer.text;
  };
  // The types are the description's, which the server's own tests hold it to.
  return request as Request;
}

function filled(template: string, parts: Readonly<Record<string, string | number>>): string {
  return template.slice(1).replaceAll(/\{(\w+)\}/g, (_match, part: string) => {
    const value = parts[part];
    if (value === undefined) throw new Problem('invalid-request', `${template} needs a ${part}`);
    return segmentOf(String(value), part);
  });
}
