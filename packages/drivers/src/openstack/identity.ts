import { Problem } from '@virt8ra/contract';
import type { Exchanger } from '../_http/exchange.js';
import type { Credentials, OpenStackConfig } from './config.js';
import { problemFrom } from './errors.js';

interface TokenBody {
  readonly token: {
    readonly expires_at: string;
    readonly issued_at: string;
    readonly project?: { readonly id: string };
    readonly catalog?: readonly CatalogEntry[];
  };
}

export interface CatalogEntry {
  readonly type: string;
  readonly endpoints: readonly {
    readonly interface: string;
    readonly region: string | null;
    readonly region_id?: string | null;
    readonly url: string;
  }[];
}

interface Token {
  readonly value: string;
  readonly project: string;
  readonly catalog: readonly CatalogEntry[];
  readonly lifeMs: number;
  /** Of the local monotonic clock, so that a wrong clock does no harm. */
  readonly until: number;
}

/** A project's token and catalogue, renewed in time. */
export interface Identity {
  /** With at least `leastMs` of life left. Default: a quarter of its life. */
  token(leastMs?: number): Promise<string>;
  /** That token was refused: the next one is another. */
  forget(token: string): void;
  project(): Promise<string>;
  /** Undefined: the catalogue has no such service. Raises `validation` when its region is not there, or is to be chosen. */
  endpoint(types: readonly string[]): Promise<URL | undefined>;
}

export function createIdentity(exchanger: Exchanger, config: OpenStackConfig, now: () => number = () => performance.now()): Identity {
  let held: Token | undefined;
  let asking: Promise<Token> | undefined;

  async function fetchToken(): Promise<Token> {
    const answer = await exchanger.ask({
      method: 'POST',
      url: new URL(`${config.authUrl.href}/auth/tokens`),
      json: { auth: authBody(config.credentials) },
      // A token more does no harm.
      again: 'always',
    });
    if (answer.status !== 201) throw problemFrom(answer, 'Keystone', { creates: false });
    const value = answer.headers['x-subject-token'];
    const { token } = JSON.parse(answer.text) as TokenBody;
    if (typeof value !== 'string' || token?.project === undefined)
      throw new Problem('validation', 'Keystone gave a token without a project; the credentials must be for one');
    const lifeMs = Math.max(Date.parse(token.expires_at) - Date.parse(token.issued_at), 1000);
    return { value, project: token.project.id, catalog: token.catalog ?? [], lifeMs, until: now() + lifeMs };
  }

  async function current(leastMs?: number): Promise<Token> {
    // No token lives longer than it lives: whoever wants more gets a new one.
    const least = held === undefined ? 0 : Math.min(leastMs ?? held.lifeMs / 4, held.lifeMs * 0.9);
    if (held !== undefined && held.until - now() >= least) return held;
    asking ??= fetchToken().finally(() => {
      asking = undefined;
    });
    held = await asking;
    return held;
  }

  return {
    token: async (leastMs) => (await current(leastMs)).value,
    forget(token) {
      if (held?.value === token) held = undefined;
    },
    project: async () => (await current(0)).project,
    async endpoint(types) {
      const { catalog } = await current(0);
      return endpointFrom(catalog, types, config);
    },
  };
}

/** One of `types`, the first that is there. */
export function endpointFrom(
  catalog: readonly CatalogEntry[],
  types: readonly string[],
  { region, interface: wanted }: Pick<OpenStackConfig, 'region' | 'interface'>,
): URL | undefined {
  const entry = types.map((type) => catalog.find((each) => each.type === type)).find((found) => found !== undefined);
  const offered = (entry?.endpoints ?? []).filter((each) => each.interface === wanted);
  if (offered.length === 0) return undefined;
  const regions = [...new Set(offered.map((each) => each.region_id ?? each.region ?? ''))].sort();
  const chosen = region ?? (regions.length === 1 ? regions[0] : undefined);
  const pointer = '/settings/region';
  if (chosen === undefined)
    throw new Problem('validation', `the cloud has the regions ${regions.join(', ')}; say which in the setting region`, {
      sources: [{ pointer }],
    });
  const found = offered.find((each) => (each.region_id ?? each.region ?? '') === chosen);
  if (found === undefined)
    throw new Problem('validation', `the cloud has no ${types[0]} in region ${chosen}; it has ${regions.join(', ')}`, {
      sources: [{ pointer }],
    });
  return new URL(found.url);
}

function authBody(credentials: Credentials): unknown {
  if (credentials.type === 'application') {
    const { id, secret } = credentials;
    // It is for one project by itself: a scope beside it is refused.
    return { identity: { methods: ['application_credential'], application_credential: { id, secret } } };
  }
  const { user, userDomain, password, project, projectDomain } = credentials;
  return {
    identity: { methods: ['password'], password: { user: { name: user, domain: { name: userDomain }, password } } },
    scope: { project: { name: project, domain: { name: projectDomain } } },
  };
}
