import { Problem } from '@virt8ra/contract';
import type { FastifyInstance } from 'fastify';
import type { KindBehaviour } from '../kinds/behaviour.js';
import type { Store } from '../resources/store.js';
import { absentResource } from './absent-resource.js';
import { actOnResource } from './act-on-resource.js';
import { createActionBodyParser } from './action-body.js';
import { deleteResource } from './delete-resource.js';
import { listQueryOf, tokenFromPosition } from './list-request.js';
import { versionOfHeader } from './precondition.js';
import type { Present } from './presenter.js';
import { createPutResource } from './put-resource.js';
import {
  addressOfRequest,
  addressToWrite,
  assertMayChange,
  assertTenant,
  collectionRoute,
  type PathParameters,
  placeOfRequest,
} from './request-address.js';
import { subjectOf } from './subject-of-request.js';

interface Parameters {
  readonly Params: PathParameters;
  readonly Querystring: Readonly<Record<string, unknown>>;
}

export interface KindRoutesOptions {
  readonly store: Store;
  readonly region: string;
  readonly present: Present;
}

/** The routes of one kind, all derived from it. Raises `internal` when it names an action its behaviour does not have. */
export function addKindRoutes(app: FastifyInstance, behaviour: KindBehaviour, options: KindRoutesOptions): void {
  const { store, region, present } = options;
  const { kind } = behaviour;
  const collection = collectionRoute(kind);
  const item = `${collection}/:name`;

  app.get<Parameters>(collection, async (request) => {
    assertTenant(subjectOf(request), request.params['tenant']);
    const place = placeOfRequest(kind, request.params);
    const bound = `${kind.kind} ${Object.values(place).join(' ')}`;
    const page = await store.list(kind, place, listQueryOf(request.query, request.headers.accept, bound));
    return {
      items: await present(behaviour, page.items, 'GET'),
      metadata: {
        provider: `${kind.provider}/${kind.version}`,
        resource: `${place.network === undefined ? '' : `networks/${place.network}/`}${kind.collection}`,
        verb: 'GET',
        ...(page.next === undefined ? {} : { skipToken: tokenFromPosition(page.next, bound) }),
      },
    };
  });

  app.get<Parameters>(item, async (request) => {
    assertTenant(subjectOf(request), request.params['tenant']);
    const address = addressOfRequest(kind, request.params);
    const resource = await store.get(kind, address);
    if (resource === undefined) throw absentResource(kind, address.name);
    const [document] = await present(behaviour, [resource], 'GET');
    return document;
  });

  app.get<Parameters>(`${item}/progress`, async (request) => {
    assertTenant(subjectOf(request), request.params['tenant']);
    const address = addressOfRequest(kind, request.params);
    const resource = await store.get(kind, address);
    if (resource === undefined) throw absentResource(kind, address.name);
    const progress = await store.progressOf(resource.uid);
    if (progress === undefined) throw new Problem('not-found', `nothing is under way on ${kind.kind} ${address.name}`);
    return progress;
  });

  if (kind.writable) {
    const putResource = createPutResource(store, behaviour, region);
    app.put<Parameters>(item, async (request, reply) => {
      const subject = subjectOf(request);
      assertTenant(subject, request.params['tenant']);
      assertMayChange(subject, kind);
      const address = addressToWrite(kind, request.params);
      const version = versionOfHeader(request.headers['if-unmodified-since']);
      const { resource, created } = await putResource({ address, body: request.body, version, subject });
      const [document] = await present(behaviour, [resource], 'PUT');
      return await reply.code(created ? 201 : 200).send(document);
    });
    app.delete<Parameters>(item, async (request, reply) => {
      const subject = subjectOf(request);
      assertTenant(subject, request.params['tenant']);
      assertMayChange(subject, kind);
      const address = addressOfRequest(kind, request.params);
      await deleteResource(store, behaviour, { address, version: versionOfHeader(request.headers['if-unmodified-since']), subject });
      return await reply.code(202).send();
    });
  }

  for (const action of kind.actions) {
    const perform = behaviour.actions?.[action];
    if (perform === undefined) throw new Problem('internal', `kind ${kind.kind} has the action ${action}, which its behaviour does not`);
    const parse = createActionBodyParser(kind, action);
    app.post<Parameters>(`${item}/${action}`, async (request, reply) => {
      const subject = subjectOf(request);
      assertTenant(subject, request.params['tenant']);
      assertMayChange(subject, kind);
      const address = addressOfRequest(kind, request.params);
      const version = versionOfHeader(request.headers['if-unmodified-since']);
      const body = parse(request.body);
      const answer = await actOnResource(store, kind, { name: action, perform, body }, { address, version, subject });
      return answer === undefined ? await reply.code(202).send() : await reply.code(200).send(answer);
    });
  }
}
