import { host as hostKind, type Id, instance as instanceKind, Problem, samplesKeptSeconds } from '@virt8ra/contract';
import type { FastifyInstance } from 'fastify';
import { namesShownOf } from '../http/access.js';
import { addressOfRequest, type PathParameters, placeOfRequest } from '../http/request-address.js';
import type { StoreReader } from '../resources/store.js';
import type { StoredResource } from '../resources/stored-resource.js';
import type { GuestUsage, SampleStore } from './sample-store.js';

interface Parameters {
  readonly Params: PathParameters;
  readonly Querystring: Readonly<Record<string, unknown>>;
}

const base = '/providers/virt8ra.metrics/v1beta1';
const work = `${base}/tenants/:tenant/workspaces/:workspace/instances`;
/** Of one answer; who has more asks for a workspace at a time. */
const itemsMost = 1000;

/**
 * `GET …/hosts` and `…/instances`: what each uses now. `GET …/hosts/NAME` and `…/instances/NAME`: the last hour of one, or its last
 * `?seconds=N`. An instance's hour begins anew with its host.
 */
export function addSampleRoutes(
  app: FastifyInstance,
  { store, samples }: { readonly store: StoreReader; readonly samples: SampleStore },
): void {
  app.get(`${base}/hosts`, { config: { access: { kind: hostKind, verb: 'list' } } }, async () => {
    return { items: await samples.newest('all', itemsMost) };
  });
  app.get<Parameters>(`${base}/hosts/:name`, { config: { access: { kind: hostKind, verb: 'get' } } }, async (request) => {
    const { name } = addressOfRequest(hostKind, request.params);
    if ((await store.get(hostKind, { name })) === undefined) throw new Problem('not-found', `there is no host ${name}`);
    return { items: await samples.historyOfHost(name, secondsOf(request.query)) };
  });
  app.get<Parameters>(work, { config: { access: { kind: instanceKind, verb: 'list' } } }, async (request) => {
    const page = await store.list(instanceKind, placeOfRequest(instanceKind, request.params), {
      selector: [],
      limit: itemsMost,
      after: undefined,
      ...namesShownOf(request),
    });
    const names = new Map(page.items.map(({ uid, address }) => [uid, address.name]));
    const places = await placesOf(store, page.items);
    const used = await samples.newestOfGuests([...places.values()]);
    const items = [...places].flatMap(([uid, { host, key }]) => {
      const found = used.find((each) => each.host === host && each.key === key);
      if (found === undefined) return [];
      return [{ instance: names.get(uid), ...found }];
    });
    return { items: await named(samples, request.params, items) };
  });
  app.get<Parameters>(`${work}/:name`, { config: { access: { kind: instanceKind, verb: 'get' } } }, async (request) => {
    const address = addressOfRequest(instanceKind, request.params);
    const found = await store.get(instanceKind, address);
    if (found === undefined) throw new Problem('not-found', `there is no instance ${address.name}`);
    const place = (await placesOf(store, [found])).get(found.uid);
    const items = place === undefined ? [] : await samples.historyOfGuest(place.host, place.key, secondsOf(request.query));
    return { items: await named(samples, request.params, items) };
  });
}

/** With the names of disks and NICs instead of what hosts call them; one that is none of the workspace any more is left out. */
async function named<Usage extends GuestUsage>(
  samples: SampleStore,
  { tenant = '', workspace = '' }: PathParameters,
  items: readonly Usage[],
): Promise<readonly object[]> {
  const keys = new Set(items.flatMap(({ disks = [], nics = [] }) => [...disks, ...nics].map(({ key }) => key)));
  const names = await samples.namesOf({ tenant, workspace }, [...keys]);
  const list = <Entry extends { readonly key: string }>(entries: readonly Entry[], name: string): object[] =>
    entries.flatMap(({ key, ...figures }) => (names.has(key) ? [{ [name]: names.get(key), ...figures }] : []));
  return items.map(({ key: _, disks, nics, changes: __, ...usage }) => ({
    ...usage,
    ...(disks === undefined ? {} : { disks: list(disks, 'blockStorage') }),
    ...(nics === undefined ? {} : { nics: list(nics, 'nic') }),
  }));
}

/** Host and key of those that are realized. */
async function placesOf(
  store: StoreReader,
  resources: readonly StoredResource[],
): Promise<ReadonlyMap<Id<'resource'>, { readonly host: string; readonly key: string }>> {
  const realized = await store.ledger.ofResources(resources.map(({ uid }) => uid));
  return new Map(
    realized.flatMap(({ resourceUid, facet, role, host, key }) =>
      facet === 'instances' && role === 'primary' && host !== undefined ? [[resourceUid, { host, key }] as const] : [],
    ),
  );
}

function secondsOf({ seconds }: Parameters['Querystring']): number {
  if (seconds === undefined) return samplesKeptSeconds;
  const given = Number(seconds);
  if (Number.isInteger(given) && given > 0) return Math.min(given, samplesKeptSeconds);
  throw new Problem('invalid-request', `seconds must be a whole number up to ${samplesKeptSeconds}`, {
    sources: [{ parameter: 'seconds' }],
  });
}
