import { isDeepStrictEqual } from 'node:util';
import type { ControlPlane } from '@virt8ra/server/testing';
import { expect } from 'vitest';

export type Profile = 'standard' | 'conformance';

/** What a body may have: of a resource, a list or a problem, whichever it is. */
export interface Body {
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly extensions?: Readonly<Record<string, string>>;
  readonly metadata: Readonly<Record<string, unknown>> & { readonly name: string; readonly skipToken?: string };
  readonly spec: Readonly<Record<string, unknown>>;
  readonly status: Readonly<Record<string, unknown>> & {
    readonly state: string;
    readonly conditions: readonly {
      readonly state: string;
      readonly lastTransitionAt: string;
      readonly reason?: string;
      readonly message?: string;
    }[];
  };
  readonly items: readonly Body[];
  readonly detail: string;
  readonly code: string;
  readonly sources: readonly { readonly pointer?: string; readonly parameter?: string }[];
}

export interface Wire {
  readonly status: number;
  /** Of the content, without parameters. */
  readonly type: string | null;
  /** Undefined members are those that the body has not; of a body that is empty, all of them. */
  readonly body: Body;
  readonly text: string;
}

export interface Draft {
  readonly spec?: object;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly extensions?: Readonly<Record<string, string>>;
  readonly metadata?: object;
}

/** What Go clients send beside what they mean: zero values of everything that is the server's. */
const dummies = {
  metadata: { createdAt: '0001-01-01T00:00:00Z', lastModifiedAt: '0001-01-01T00:00:00Z', resourceVersion: 0, name: '', region: '' },
  status: { conditions: null, powerState: '', cidr: {} },
};

/** The path of a collection or a resource; `place` begins at the tenant. */
export function pathOf(provider: string, place: string, version = 'v1'): string {
  return `/providers/seca.${provider}/${version}/tenants/default/${place}`;
}

/** A reference as clients have it: the object, with the full URN. */
export function refTo(path: string): { readonly resource: string } {
  return { resource: path.replace('/providers/', '') };
}

/** The steps of SECA's conformance suite, each asking what it asks, over the bytes on the wire. */
export class Suite {
  readonly plane: ControlPlane;
  readonly profile: Profile;
  /** Updates of each path, for the length of its history. */
  readonly #changes = new Map<string, number>();

  constructor(plane: ControlPlane, profile: Profile) {
    this.plane = plane;
    this.profile = profile;
  }

  async call(method: string, path: string, body?: unknown, headers: Readonly<Record<string, string>> = {}): Promise<Wire> {
    const response = await fetch(`${this.plane.url}${path}`, {
      method,
      headers: {
        authorization: `Bearer ${this.plane.token}`,
        accept: 'application/json',
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    });
    const text = await response.text();
    const parsed: unknown = text === '' ? {} : JSON.parse(text);
    const type = response.headers.get('content-type') ?? undefined;
    this.plane.assertDescribed(method, path, { status: response.status, type, body: text === '' ? undefined : parsed });
    return { status: response.status, type: response.headers.get('content-type')?.split(';', 1)[0] ?? null, body: parsed as Body, text };
  }

  async put(path: string, draft: Draft): Promise<Wire> {
    return await this.call('PUT', path, { ...dummies, ...draft, metadata: { ...dummies.metadata, ...draft.metadata } });
  }

  /** Created: 201, echoed as sent, on its way or there. */
  async create(path: string, draft: Draft = { spec: {} }): Promise<void> {
    const answer = await this.put(path, draft);
    expect(answer, `PUT ${path}`).toMatchObject({ status: 201 });
    this.#assertEcho(path, draft, answer, 'PUT');
    expect(['pending', 'creating', 'active']).toContain(answer.body.status.state);
    this.#changes.set(path, 0);
  }

  /** Replaced: 200; what is a record is active at once. */
  async update(path: string, draft: Draft, states: readonly string[] = ['active']): Promise<void> {
    const answer = await this.put(path, draft);
    expect(answer, `PUT ${path}`).toMatchObject({ status: 200 });
    this.#assertEcho(path, draft, answer, 'PUT');
    expect(states).toContain(answer.body.status.state);
    this.#changes.set(path, (this.#changes.get(path) ?? 0) + 1);
  }

  /** POST of an action: 202 without a body. */
  async act(path: string, action: string): Promise<void> {
    const answer = await this.call('POST', `${path}/${action}`);
    expect(answer, `POST ${path}/${action}`).toMatchObject({ status: 202, text: '' });
    this.#changes.set(path, (this.#changes.get(path) ?? 0) + 1);
  }

  /** Becomes active with exactly the history that its changes give, newest first. */
  async active(path: string, draft?: Draft): Promise<Wire> {
    const answer = await this.until(path, ({ status, body }) => status === 200 && body.status.state === 'active');
    if (draft !== undefined) this.#assertEcho(path, draft, answer, 'GET');
    const { conditions } = answer.body.status;
    const changes = this.#changes.get(path) ?? 0;
    const wanted = [...Array.from({ length: changes }, () => ['active', 'updating']).flat(), 'active', 'creating', 'pending'];
    const states = conditions.map(({ state }) => state);
    expect(this.profile === 'conformance' ? states : states.filter((state, at) => state !== states[at - 1]), path).toEqual(wanted);
    const times = conditions.map(({ lastTransitionAt }) => Date.parse(lastTransitionAt));
    expect(times).toEqual(times.toSorted((a, b) => b - a));
    return answer;
  }

  async until(path: string, accept: (answer: Wire) => boolean): Promise<Wire> {
    const end = Date.now() + 20_000;
    for (;;) {
      const answer = await this.call('GET', path);
      if (accept(answer)) return answer;
      if (Date.now() > end) throw new Error(`${path} never came to it: ${JSON.stringify(answer)}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  /** Refused as the specification has it, or, in profile conformance, with 412 whatever the reason; nothing is there afterwards that was not. */
  async refused(path: string, draft: Draft, status: 404 | 409 | 422, pointer?: string): Promise<void> {
    const before = await this.call('GET', path);
    const answer = await this.put(path, draft);
    this.#assertRefusal(`PUT ${path} ${JSON.stringify(draft).slice(0, 300)}`, answer, status);
    if (pointer !== undefined) expect(answer.body.sources.map((source) => source.pointer)).toContain(pointer);
    expect((await this.call('GET', path)).status).toBe(before.status);
  }

  async refusedCall(method: 'POST' | 'DELETE', path: string, status: 404 | 409 | 422 = 409): Promise<void> {
    this.#assertRefusal(`${method} ${path}`, await this.call(method, path), status);
  }

  #assertRefusal(what: string, { status: answered, type, body }: Wire, status: number): void {
    expect({ answered, type, status: body.status as unknown }, what).toEqual({
      answered: this.profile === 'conformance' ? 412 : status,
      type: 'application/problem+json',
      status: this.profile === 'conformance' ? 412 : status,
    });
    expect(body.detail.length).toBeGreaterThan(10);
  }

  /** 202, then 404. */
  async remove(...paths: readonly string[]): Promise<void> {
    for (const path of paths) {
      expect(await this.call('DELETE', path), `DELETE ${path}`).toMatchObject({ status: 202, text: '' });
      await this.until(path, ({ status }) => status === 404);
    }
  }

  /** Each 202, at once; then all of them 404. */
  async removeAtOnce(...paths: readonly string[]): Promise<void> {
    for (const path of paths) expect(await this.call('DELETE', path), `DELETE ${path}`).toMatchObject({ status: 202, text: '' });
    for (const path of paths) await this.until(path, ({ status }) => status === 404);
  }

  /** Says what it waits for, in the state it is in. */
  async waitsFor(path: string, what: string, states: readonly string[] = ['active']): Promise<void> {
    const { body } = await this.call('GET', path);
    const [newest] = body.status.conditions;
    expect(states, path).toContain(body.status.state);
    expect(newest?.message, path).toContain(what.replace('/providers/', ''));
  }

  /** Has gone on by itself. */
  async wentOn(path: string): Promise<void> {
    await this.until(path, ({ body }) => body.status.conditions[0]?.reason === 'DependenciesThere');
  }

  /** Lists in the four ways of the suite: plainly, by a limit, by labels, by both. `names` are those with label `env=conformance`. */
  async listed(collection: string, names: readonly string[]): Promise<void> {
    const found = async (query: string): Promise<readonly string[]> => {
      const all: string[] = [];
      let token = '';
      do {
        const answer = await this.call('GET', `${collection}?${query}${token === '' ? '' : `&skipToken=${token}`}`);
        expect(answer, `${collection}?${query}`).toMatchObject({ status: 200 });
        token = answer.body.metadata.skipToken ?? '';
        // Clients stop at an empty page, whatever its token.
        if (token !== '') expect(answer.body.items.length).toBeGreaterThan(0);
        all.push(...answer.body.items.map(({ metadata }) => metadata.name));
      } while (token !== '');
      return all;
    };
    expect(await found('')).toEqual(expect.arrayContaining([...names]));
    expect(await found('limit=1')).toEqual(expect.arrayContaining([...names]));
    expect(await found('labels=env%3Dconformance')).toEqual([...names].toSorted());
    expect(await found('labels=env%3Dconformance&limit=1')).toEqual([...names].toSorted());
  }

  #assertEcho(path: string, draft: Draft, { type, body }: Wire, verb: string): void {
    const [, , provider, version, , tenant, ...rest] = path.split('/');
    const place = rest[0] === 'workspaces' && rest.length > 2 ? rest.slice(2) : rest;
    expect(type).toMatch(/^application\/json/);
    expect(body.metadata).toMatchObject({
      name: place.at(-1),
      provider: `${provider}/${version}`,
      resource: place.join('/'),
      verb,
      apiVersion: version,
      ref: path.replace('/providers/', ''),
      tenant,
    });
    if (draft.spec !== undefined && !isDeepStrictEqual(body.spec, draft.spec)) expect(body.spec).toEqual(draft.spec);
    for (const map of ['labels', 'annotations', 'extensions'] as const) if (draft[map] !== undefined) expect(body[map]).toEqual(draft[map]);
  }
}

/** What every kind refuses of names and maps. */
export async function refusesEnvelope(suite: Suite, collection: string, spec: object): Promise<void> {
  const path = `${collection}/fine`;
  await suite.refused(`${collection}/${'a'.repeat(129)}`, { spec }, 422);
  await suite.refused(`${collection}/Upper-Case`, { spec }, 422);
  await suite.refused(path, { spec, labels: { long: 'x'.repeat(64) } }, 422, '/labels/long');
  await suite.refused(path, { spec, annotations: { long: 'x'.repeat(1025) } }, 422, '/annotations/long');
}

/** Another region in the metadata. */
export async function refusesRegion(suite: Suite, path: string, spec: object): Promise<void> {
  await suite.refused(path, { spec, metadata: { region: 'elsewhere' } }, 422, '/metadata/region');
}
