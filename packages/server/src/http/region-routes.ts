import { type Kind, region as regionKind, site } from '@virt8ra/contract';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { matchesSelector } from '../resources/label-selector.js';
import type { Store } from '../resources/store.js';
import type { StoredResource } from '../resources/stored-resource.js';
import { absentResource } from './absent-resource.js';
import { listQueryOf } from './list-request.js';
import { collectionRoute } from './request-address.js';
import { resourceDocument } from './resource-document.js';

export interface RegionRoutesOptions {
  readonly store: Store;
  readonly region: string;
  readonly kinds: readonly Kind[];
  /** Base URL as clients reach it, without a trailing slash. */
  readonly publicUrl: (request: FastifyRequest) => string;
}

/** SECA bound: `any` and 31 sites; the topology lists all. */
const sitesShown = 31;

/** The region this server runs, the only one it has. Its zones are the sites as they are now, its services those of the kinds. */
export function addRegionRoutes(app: FastifyInstance, options: RegionRoutesOptions): void {
  const { store, region, kinds, publicUrl } = options;
  const collection = collectionRoute(regionKind);

  app.get(collection, { config: { access: { kind: regionKind, verb: 'list' } } }, async (request) => {
    const query = listQueryOf(request.query as Readonly<Record<string, unknown>>, request.headers.accept, 'region');
    const items = matchesSelector(query.selector, {}) && query.deleted !== 'only' ? [await current(request)] : [];
    return { items, metadata: { provider: `${regionKind.provider}/${regionKind.version}`, resource: regionKind.collection, verb: 'GET' } };
  });

  app.get<{ Params: { readonly name: string } }>(
    `${collection}/:name`,
    { config: { access: { kind: regionKind, verb: 'get' } } },
    async (request) => {
      if (request.params.name !== region) throw absentResource(regionKind, request.params.name.slice(0, 150));
      return await current(request);
    },
  );

  async function current(request: FastifyRequest) {
    const stored = (await store.get(regionKind, { name: region })) ?? (await first());
    const sites = await store.list(site, {}, { selector: [], limit: sitesShown, after: undefined });
    const spec = {
      availableZones: ['any', ...sites.items.filter((each) => each.deletedAt === undefined).map((each) => each.address.name)],
      providers: endpointsOf(kinds, publicUrl(request)).map(({ provider, version, url }) => ({ name: provider, version, url })),
    };
    return resourceDocument(regionKind, { ...stored, spec }, 'GET', region);
  }

  async function first(): Promise<StoredResource> {
    const spec = { availableZones: ['any'], providers: [] };
    return await store.transaction(
      async (tx) => await tx.put({ kind: regionKind, address: { name: region }, spec, state: 'active', conditions: [{ state: 'active' }] }),
    );
  }
}

export interface Endpoint {
  readonly provider: string;
  readonly version: string;
  readonly url: string;
}

/** Services of this server, by the kinds it has: clients append `/v1/tenants/…` to the URL. */
export function endpointsOf(kinds: readonly Kind[], publicUrl: string): readonly Endpoint[] {
  const services = new Map(kinds.map((kind) => [`${kind.provider}/${kind.version}`, kind]));
  return [...services.values()].map(({ provider, version }) => ({ provider, version, url: `${publicUrl}/providers/${provider}` }));
}
