import { type Kind, Problem, role, roleAssignment, workspace } from '@virt8ra/contract';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { Pool } from 'pg';
import { covers, namesToList, permits, type Question, type Sight } from '../identity/decide.js';
import { createGrants } from '../identity/grants.js';
import { createSeeing, hasTenant, type Seeing } from '../identity/seeing.js';
import type { Subject } from '../kinds/behaviour.js';
import { absentResource } from './absent-resource.js';
import { assertMayChange, assertTenant, namesInPath, type PathParameters } from './request-address.js';
import { subjectOf } from './subject-of-request.js';

/**
 * What a route does: something with a kind (where, its path says), or `caller`: it answers whoever has a token, and shows what they may see. A
 * route that says neither, and is not `open`, cannot be added.
 */
export type RouteAccess = 'caller' | Pick<Question, 'kind' | 'verb'>;

declare module 'fastify' {
  interface FastifyRequest {
    /** Of a list: the names it may show; undefined: all. */
    namesShown: readonly string[] | undefined;
  }
  interface FastifyContextConfig {
    readonly access?: RouteAccess;
  }
}

/** The one place where it is decided what a subject may do. */
export interface Access {
  /** All that were added. */
  readonly routes: readonly { readonly method: string; readonly path: string }[];
  /** Raises `forbidden`, or `not-found` for what the subject may not even see. Answers the names that a list may show; undefined: all. */
  assert(subject: Subject, question: Question): Promise<readonly string[] | undefined>;
  /** Whether it is there for the subject. */
  maySee(subject: Subject, question: Omit<Question, 'verb'>): Promise<boolean>;
  /** The same for many of one tenant, at one moment. */
  readonly seen: Seeing;
}

export interface AccessOptions {
  readonly pool: Pick<Pool, 'query'>;
  readonly kinds: readonly Kind[];
  readonly region: string;
  readonly staleMs?: number;
}

/** Decides, for each request of `app`, before its body is read. The routes are added after it. */
export function addAccess(app: FastifyInstance, { pool, kinds, region, staleMs }: AccessOptions): Access {
  const grants = createGrants({ pool, kinds, region, ...(staleMs === undefined ? {} : { staleMs }) });
  const sightOf = (subject: Subject, given: Sight['grants']): Sight => ({ grants: given, within: subject.within, region });

  const allowed = async (subject: Subject, question: Question): Promise<{ readonly names: readonly string[] | undefined }> => {
    const { tenant } = question.place;
    if (tenant === undefined || subject.operator) return { names: undefined };
    const ask = (given: Sight['grants']) => answer(sightOf(subject, given), question);
    // Most tokens are allowed by a role of their own, which needs no look at the database.
    const own = grants.ofToken(subject);
    const early = own.length === 0 ? undefined : ask(own);
    if (early !== undefined && early.names === undefined) return early;
    const given = grants.of(subject, tenant);
    const holding = given instanceof Promise ? await given : given;
    if (question.name === undefined) return ask(holding.grants);
    if (subject.within !== undefined && !covers(subject.within, question, region)) return { names: [] };
    const items = holding.items(question);
    return { names: items === 'all' || items.has(question.name) ? undefined : [] };
  };

  const routes: { method: string; path: string }[] = [];
  const access: Access = {
    routes,
    async assert(subject, question) {
      const { kind, verb, place } = question;
      assertTenant(subject, place.tenant);
      if (verb !== 'get' && verb !== 'list') assertMayChange(subject, kind);
      const { names } = await allowed(subject, question);
      if (names === undefined || names.length > 0) return names;
      if (question.name !== undefined && !(await access.maySee(subject, question))) throw absentResource(kind, question.name);
      throw new Problem('forbidden', `${subject.name} may not ${sentence(question)}: no role that they have in ${place.tenant} says so`);
    },
    async maySee(subject, question) {
      if (!hasTenant(subject, question.place.tenant)) return false;
      return (await allowed(subject, { ...question, verb: 'get' })).names === undefined;
    },
    seen: createSeeing({ grants, region }),
  };

  app.decorateRequest('namesShown', undefined);
  app.addHook('onRoute', ({ config, method, url }) => {
    if (config?.open !== true && config?.access === undefined)
      throw new Problem('internal', `the route ${String(method)} ${url} does not say who may use it`);
    for (const each of [method].flat()) routes.push({ method: each, path: url });
  });
  app.addHook('onRequest', async (request) => {
    const { access: wanted } = request.routeOptions.config;
    if (wanted === undefined) return;
    const parameters = request.params as PathParameters;
    const subject = subjectOf(request);
    if (wanted === 'caller') return assertTenant(subject, parameters['tenant'] === anyTenant ? undefined : parameters['tenant']);
    request.namesShown = await access.assert(subject, { ...wanted, ...placeAndName(wanted.kind, parameters) });
  });
  // Whoever has been told that it is done finds it done here; other replicas follow within the bound.
  app.addHook('onSend', async (request) => {
    const { access: wanted } = request.routeOptions.config;
    const { tenant } = request.params as PathParameters;
    if (request.method === 'GET' || typeof wanted !== 'object' || tenant === undefined) return;
    if (governing.has(wanted.kind.kind)) grants.forget(tenant);
  });
  return access;
}

/** In a path, in place of a tenant. */
export const anyTenant = '-';

/** A change of these may change what somebody may do. */
const governing: ReadonlySet<string> = new Set([role.kind, roleAssignment.kind, workspace.kind]);

/** No names: not at all. */
function answer(sight: Sight, question: Question): { readonly names: readonly string[] | undefined } {
  if (question.name === undefined) return { names: namesToList(sight, question) };
  return { names: permits(sight, question) ? undefined : [] };
}

function placeAndName(kind: Kind, parameters: PathParameters): Pick<Question, 'place' | 'name'> {
  // What is decided on must be what is then looked up.
  const { tenant, workspace: within, network, cluster, name } = namesInPath(kind, parameters);
  if (kind.scope === 'global') return { place: {}, ...(name === undefined ? {} : { name }) };
  const place = {
    ...(tenant === undefined ? {} : { tenant }),
    ...(within === undefined ? {} : { workspace: within }),
    ...(network === undefined ? {} : { network }),
    ...(cluster === undefined ? {} : { cluster }),
  };
  return { place, ...(name === undefined ? {} : { name }) };
}

function sentence({ kind, verb, place, name }: Question): string {
  const [act = '', action] = verb.split('.', 2);
  const where = [place.workspace, place.network].flatMap((each) => (each === undefined ? [] : [`in ${each.slice(0, 64)}`])).join(' ');
  const what = name === undefined ? kind.collection : `${kind.kind} ${name.slice(0, 128)}`;
  return [action === undefined ? act : `${act} ${action} to`, what, where].filter((word) => word !== '').join(' ');
}

/** The names that a list may show, as the hook has found them. */
export function namesShownOf(request: FastifyRequest): { readonly names?: readonly string[] } {
  return request.namesShown === undefined ? {} : { names: request.namesShown };
}
