import { Problem, relativeCollection } from '@virt8ra/contract';
import type { FastifyInstance } from 'fastify';
import { problemOf } from '../database/database-problem.js';
import type { KindBehaviour } from '../kinds/behaviour.js';
import type { Store } from '../resources/store.js';
import { absentResource } from './absent-resource.js';
import { type Access, namesShownOf, type RouteAccess } from './access.js';
import { actOnResource } from './act-on-resource.js';
import { createActionBodyParser } from './action-body.js';
import { deleteResource } from './delete-resource.js';
import { listQueryOf, tokenFromPosition } from './list-request.js';
import { versionOfHeader } from './precondition.js';
import type { Present } from './presenter.js';
import { type ApiProfile, putPolicyIn } from './profile.js';
import { createPutResource } from './put-resource.js';
import { addressOfRequest, addressToWrite, collectionRoute, type PathParameters, placeOfRequest } from './request-address.js';
import { subjectOf } from './subject-of-request.js';

interface Parameters {
  readonly Params: PathParameters;
  readonly Querystring: Readonly<Record<string, unknown>>;
}

export interface KindRoutesOptions {
  readonly store: Store;
  readonly region: string;
  /** Default: `standard`. */
  readonly profile?: ApiProfile;
  readonly present: Present;
  readonly access: Access;
}

/** The routes of one kind, all derived from it. Raises `internal` when it names an action its behaviour does not have. */
export function addKindRoutes(app: FastifyInstance, behaviour: KindBehaviour, options: KindRoutesOptions): void {
  const { store, region, present, access } = options;
  const { kind } = behaviour;
  const doing = (verb: string): { readonly config: { readonly access: RouteAccess } } => ({ config: { access: { kind, verb } } });
  const collection = collectionRoute(kind);
  const item = `${collection}/:name`;

  app.get<Parameters>(collection, doing('list'), async (request) => {
    const place = placeOfRequest(kind, request.params);
    const bound = `${kind.kind} ${Object.values(place).join(' ')}`;
    const query = listQueryOf(request.query, request.headers.accept, bound);
    const page = await store.list(kind, place, { ...query, ...namesShownOf(request) });
    return {
      items: await present(behaviour, page.items, 'GET'),
      metadata: {
        provider: `${kind.provider}/${kind.version}`,
        resource: relativeCollection(kind, place),
        verb: 'GET',
        ...(page.next === undefined ? {} : { skipToken: tokenFromPosition(page.next, bound) }),
      },
    };
  });

  app.get<Parameters>(item, doing('get'), async (request) => {
    const address = addressOfRequest(kind, request.params);
    const resource = await store.get(kind, address);
    if (resource === undefined) throw absentResource(kind, address.name);
    const [document] = await present(behaviour, [resource], 'GET');
    return document;
  });

  app.get<Parameters>(`${item}/progress`, doing('get'), async (request) => {
    const address = addressOfRequest(kind, request.params);
    const resource = await store.get(kind, address);
    if (resource === undefined) throw absentResource(kind, address.name);
    const progress = await store.progressOf(resource.uid);
    if (progress === undefined) throw new Problem('not-found', `nothing is under way on ${kind.kind} ${address.name}`);
    return progress;
  });

  if (kind.writable) {
    const putResource = createPutResource(store, behaviour, { region, access, policy: putPolicyIn(options.profile ?? 'standard') });
    app.put<Parameters>(item, doing('put'), async (request, reply) => {
      const subject = subjectOf(request);
      const address = addressToWrite(kind, request.params);
      const version = versionOfHeader(request.headers['if-unmodified-since']);
      const { resource, created } = await putResource({ address, body: request.body, version, subject });
      const [document] = await present(behaviour, [resource], 'PUT').catch(cannotBeShown);
      return await reply.code(created ? 201 : 200).send(document);
    });
    app.delete<Parameters>(item, doing('delete'), async (request, reply) => {
      const subject = subjectOf(request);
      const address = addressOfRequest(kind, request.params);
      await deleteResource(store, behaviour, { address, version: versionOfHeader(request.headers['if-unmodified-since']), subject });
      return await reply.code(202).send();
    });
  }

  for (const action of kind.actions) {
    const perform = behaviour.actions?.[action];
    if (perform === undefined) throw new Problem('internal', `kind ${kind.kind} has the action ${action}, which its behaviour does not`);
    const parse = createActionBodyParser(kind, action);
    app.post<Parameters>(`${item}/${action}`, doing(`post.${action}`), async (request, reply) => {
      const subject = subjectOf(request);
      const address = addressOfRequest(kind, request.params);
      const version = versionOfHeader(request.headers['if-unmodified-since']);
      const body = parse(request.body);
      const answer = await actOnResource(store, kind, { name: action, perform, body }, { address, version, subject });
      return answer === undefined ? await reply.code(202).send() : await reply.code(200).send(answer);
    });
  }
}

/** What was committed is no refusal, even when it cannot be shown any more. */
function cannotBeShown(error: unknown): never {
  if (problemOf(error).kind !== 'unavailable') throw error;
  throw new Problem('unknown-outcome', 'the change was made, but cannot be shown at the moment: read it, or repeat the request', {
    retryAfterSeconds: 1,
    cause: error,
  });
}
