import { randomUUID } from 'node:crypto';
import { assertFields, pageOf, Refusal } from './refusal.js';
import type { Answered, Asked } from './wire.js';

interface SimulatedVolume {
  readonly id: string;
  readonly name: string;
  status: string;
  size: number;
  readonly metadata: Readonly<Record<string, string>>;
}

/** Cinder. */
export function createSimulatedVolumes({ slowMs }: { readonly slowMs: number }) {
  const volumes = new Map<string, SimulatedVolume>();
  const later = (work: () => void): void => void setTimeout(work, slowMs).unref();
  return {
    version: '/v3',
    volumes,
    versions: (base: string) => ({
      versions: [{ id: 'v3.0', status: 'CURRENT', version: '3.70', min_version: '3.0', links: [{ rel: 'self', href: `${base}/v3/` }] }],
    }),
    async answer({ method, path, query, body }: Asked): Promise<Answered> {
      if (method === 'POST' && path === '/volumes') {
        const given = body?.['volume'];
        assertFields(given, ['size', 'name', 'metadata', 'imageRef', 'availability_zone'], 'volume');
        const volume: SimulatedVolume = {
          id: randomUUID(),
          name: String(given['name']),
          status: 'creating',
          size: Number(given['size']),
          metadata: given['metadata'] as Record<string, string>,
        };
        volumes.set(volume.id, volume);
        later(() => volume.status === 'creating' && Object.assign(volume, { status: 'available' }));
        return { status: 202, body: { volume } };
      }
      if (method === 'GET' && path === '/volumes/detail') {
        const { page, next } = pageOf([...volumes.values()], query, 3);
        const links = next === undefined ? {} : { volumes_links: [{ rel: 'next', href: `http://inside.test:8776/v3${path}?${next}` }] };
        return { status: 200, body: { volumes: page, ...links } };
      }
      const [, , id = '', below] = path.split('/');
      const volume = volumes.get(id);
      if (volume === undefined) throw new Refusal(404, `Volume ${id} could not be found.`);
      if (method === 'GET') return { status: 200, body: { volume } };
      if (method === 'POST' && below === 'action') {
        if (volume.status !== 'available') throw new Refusal(400, 'Invalid volume: Volume status must be available', 'badRequest');
        const { new_size: size } = (body?.['os-extend'] ?? {}) as { new_size?: number };
        volume.status = 'extending';
        later(() => Object.assign(volume, { status: 'available', size: size ?? volume.size }));
        return { status: 202 };
      }
      if (volume.status === 'deleting' || volume.status === 'in-use')
        throw new Refusal(400, 'Invalid volume: Volume status must be available', 'badRequest');
      volume.status = 'deleting';
      later(() => volumes.delete(id));
      return { status: 202 };
    },
  };
}
