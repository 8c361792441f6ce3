import { host as hostKind, Problem } from '@virt8ra/contract';
import type { FastifyInstance } from 'fastify';
import type { Fleet } from '../fleet/fleet.js';
import type { StoreReader } from '../resources/store.js';

interface Parameters {
  readonly Params: { readonly from: string; readonly to: string };
}

const base = '/providers/virt8ra.metrics/v1beta1/paths';
/** Of one answer. */
const itemsMost = 1000;

/** `GET …/paths`: what is known of how octets get from host to host. `GET …/paths/FROM/TO`: the last times that anything was carried there. */
export function addPathRoutes(
  app: FastifyInstance,
  { store, fleet }: { readonly store: StoreReader; readonly fleet: Pick<Fleet, 'pathHistory' | 'paths'> },
): void {
  app.get(base, { config: { access: 'caller' } }, async () => {
    return { items: await fleet.paths(itemsMost) };
  });
  app.get<Parameters>(`${base}/:from/:to`, { config: { access: 'caller' } }, async (request) => {
    const { from, to } = request.params;
    for (const name of [from, to])
      if ((await store.get(hostKind, { name })) === undefined) throw new Problem('not-found', `there is no host ${name}`);
    return { items: await fleet.pathHistory(from, to) };
  });
}
