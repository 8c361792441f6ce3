import { Problem } from '@virt8ra/contract';
import type { Ask, Exchanger, OpenAnswer, WholeAnswer } from '../_http/exchange.js';
import { problemFrom } from './errors.js';
import type { Identity } from './identity.js';
import { type FoundService, findService, type ServiceName, services } from './services.js';

export interface CallOptions {
  readonly json?: unknown;
  readonly query?: Readonly<Record<string, string>>;
  /** Statuses that are no failure, beside 2xx. */
  readonly also?: readonly number[];
  readonly again?: Ask['again'];
  /** Default: application/json. */
  readonly contentType?: string;
}

export interface Reply<Body> {
  readonly status: number;
  readonly body: Body;
  readonly answer: WholeAnswer;
}

/** Calls to the services of one project in one region. */
export interface CloudClient {
  readonly identity: Identity;
  call<Body = unknown>(service: ServiceName, method: Ask['method'], path: string, options?: CallOptions): Promise<Reply<Body>>;
  /** A call with bytes in it, or whose answer is bytes: under a token that lives long, and not repeated. */
  open(service: ServiceName, ask: Omit<Ask, 'url'> & { readonly path: string }): Promise<OpenAnswer>;
  /**
   * Every entry of a list, each once, by the links that the service gives. Begins again when an entry it stood at has gone. Raises `unavailable`
   * when the pages lead in a circle.
   */
  list<Entry extends { readonly id: string }>(
    service: ServiceName,
    path: string,
    member: string,
    query?: Readonly<Record<string, string>>,
  ): AsyncIterable<Entry>;
  /** Undefined: the catalogue has none. */
  find(service: ServiceName): Promise<FoundService | undefined>;
  /** Raises `cancelled` once it is closed. */
  assertOpen(): void;
}

const longLifeMs = 30 * 60_000;
const pageSize = '200';

export function createClient(parts: {
  readonly exchanger: Exchanger;
  readonly identity: Identity;
  readonly assertOpen: () => void;
}): CloudClient {
  const { exchanger, identity, assertOpen } = parts;
  const known = new Map<ServiceName, Promise<FoundService | undefined>>();

  const find = async (name: ServiceName): Promise<FoundService | undefined> => {
    const held = known.get(name) ?? findService(name, { exchanger, identity });
    known.set(name, held);
    try {
      return await held;
    } catch (thrown) {
      known.delete(name);
      throw thrown;
    }
  };
  const need = async (name: ServiceName): Promise<FoundService> => {
    const found = await find(name);
    if (found === undefined) throw new Problem('unsupported', `the cloud has no ${services[name].title}: its catalogue names none`);
    return found;
  };
  const headersFor = ({ microversion }: FoundService, token: string): Record<string, string> => ({
    'x-auth-token': token,
    ...(microversion === undefined ? {} : { 'openstack-api-version': `compute ${microversion}` }),
  });

  /** A token that is refused is renewed once; what the service refused it has not done. */
  async function withToken<Value extends { readonly status: number }>(
    leastMs: number | undefined,
    replayable: boolean,
    act: (token: string) => Promise<Value>,
  ): Promise<Value> {
    const token = await identity.token(leastMs);
    const first = await act(token);
    if (first.status !== 401 || !replayable) return first;
    identity.forget(token);
    return await act(await identity.token(leastMs));
  }

  async function callAt<Body>(
    service: ServiceName,
    method: Ask['method'],
    at: (base: URL) => URL,
    options: CallOptions,
  ): Promise<Reply<Body>> {
    assertOpen();
    const found = await need(service);
    const { json, also = [], again, contentType } = options;
    const answer = await withToken(undefined, true, async (token) =>
      exchanger.ask({
        method,
        url: at(found.url),
        headers: { ...headersFor(found, token), ...(contentType === undefined ? {} : { 'content-type': contentType }) },
        ...(json === undefined ? {} : { json }),
        ...(again === undefined ? {} : { again }),
      }),
    );
    const { status, text } = answer;
    if ((status < 200 || status > 299) && !also.includes(status)) {
      const creates = again === undefined ? method === 'POST' || method === 'PATCH' : again === 'refused';
      throw problemFrom(answer, services[service].title, { creates });
    }
    return { status, body: bodyOf<Body>(text, status), answer };
  }

  return {
    identity,
    find,
    assertOpen,
    async call(service, method, path, options = {}) {
      return await callAt(service, method, (base) => urlUnder(base, path, options.query), options);
    },
    async open(service, { path, ...ask }) {
      assertOpen();
      const found = await need(service);
      return await withToken(longLifeMs, ask.stream === undefined, async (token) =>
        exchanger.open({ ...ask, url: urlUnder(found.url, path), headers: { ...headersFor(found, token), ...ask.headers } }),
      );
    },
    async *list<Entry extends { readonly id: string }>(
      service: ServiceName,
      path: string,
      member: string,
      query: Readonly<Record<string, string>> = {},
    ): AsyncIterable<Entry> {
      const seen = new Set<string>();
      const first = (base: URL): URL => urlUnder(base, path, { ...query, limit: pageSize });
      let at: (base: URL) => URL = first;
      let position: string | undefined;
      for (let restarts = 0; ; ) {
        const reply = await callAt<Record<string, unknown>>(service, 'GET', at, { also: position === undefined ? [] : [400, 404] });
        if (reply.status === 400 || reply.status === 404) {
          // The entry that the page began after has gone.
          if (restarts++ >= mostRestarts)
            throw new Problem('unavailable', `${path} changes faster than it can be listed`, { retryAfterSeconds: 5 });
          at = first;
          position = undefined;
          continue;
        }
        for (const entry of (reply.body[member] ?? []) as readonly Entry[]) {
          if (seen.has(entry.id)) continue;
          seen.add(entry.id);
          yield entry;
        }
        const next = nextPage(reply.body, member);
        if (next === undefined) return;
        if (next === position)
          throw new Problem('unavailable', `the pages of ${path} lead in a circle`, { facts: { exchange: reply.answer.exchange } });
        position = next;
        at = (base) => {
          const url = first(base);
          url.search = next;
          return url;
        };
      }
    },
  };
}

const mostRestarts = 20;

/** The query of the next page. Only that is taken of the link: hosts in links are wrong behind many a proxy. */
function nextPage(body: Readonly<Record<string, unknown>>, member: string): string | undefined {
  const links = body[`${member}_links`];
  const href = Array.isArray(links)
    ? (links as readonly { readonly rel: string; readonly href: string }[]).find(({ rel }) => rel === 'next')?.href
    : typeof body['next'] === 'string'
      ? body['next']
      : undefined;
  return href === undefined ? undefined : new URL(href, 'http://any/').search;
}

export function urlUnder(base: URL, path: string, query: Readonly<Record<string, string>> = {}): URL {
  const url = new URL(base);
  url.pathname = `${base.pathname.replace(/\/+$/, '')}${path}`;
  for (const [name, value] of Object.entries(query)) url.searchParams.append(name, value);
  return url;
}

function bodyOf<Body>(text: string, status: number): Body {
  if (text === '') return {} as Body;
  try {
    return JSON.parse(text) as Body;
  } catch (cause) {
    if (status >= 400) return {} as Body;
    throw new Problem('unavailable', 'the cloud answered what is no JSON', { cause });
  }
}
