import { randomUUID } from 'node:crypto';
import type { Flavor } from '../schema.js';
import { assertFields, pageOf, Refusal } from './refusal.js';
import type { SimulatedImages } from './simulated-images.js';
import type { SimulatedNetworks } from './simulated-networks.js';
import type { Answered, Asked } from './wire.js';

export interface SimulatedServer {
  readonly id: string;
  name: string;
  status: string;
  task: string | null;
  power: number;
  readonly flavor: Flavor;
  metadata: Record<string, string>;
  readonly imageRef: string | undefined;
  readonly ports: readonly string[];
  readonly volumes: readonly string[];
  readonly userData: string | undefined;
  readonly hostname: string | undefined;
  fault?: { code: number; message: string };
  reboots: number;
}

const flavors: readonly Flavor[] = [
  { id: '1', name: 'tiny', vcpus: 1, ram: 512, disk: 1 },
  { id: '2', name: 'small', vcpus: 1, ram: 2048, disk: 20 },
  { id: '3', name: 'medium', vcpus: 2, ram: 4096, disk: 40 },
  { id: '4', name: 'diskless', vcpus: 2, ram: 4096, disk: 0 },
  { id: '5', name: 'huge', vcpus: 32, ram: 131_072, disk: 100 },
];

const serverFields = [
  'name',
  'flavorRef',
  'imageRef',
  'networks',
  'metadata',
  'config_drive',
  'user_data',
  'availability_zone',
  'block_device_mapping_v2',
  'hostname',
];

/** Nova. */
export function createSimulatedCompute(parts: {
  readonly slowMs: number;
  readonly images: SimulatedImages;
  readonly networks: SimulatedNetworks;
  readonly servers: number;
}) {
  const { slowMs, images, networks } = parts;
  const servers = new Map<string, SimulatedServer>();
  const state = { maxVersion: '2.93', failNextBuild: false, quota: parts.servers };
  const later = (work: () => void): void => void setTimeout(work, slowMs).unref();

  function create({ body, headers }: Asked): Answered {
    const given = body?.['server'];
    assertFields(given, serverFields, 'server');
    const microversion = Number(String(headers['openstack-api-version'] ?? 'compute 2.1').split('.')[1]);
    if (given['hostname'] !== undefined && microversion < 90) throw new Refusal(400, 'hostname is not known in this version', 'badRequest');
    const flavor = flavors.find(({ id }) => id === given['flavorRef']);
    if (flavor === undefined) throw new Refusal(400, 'no such flavor', 'badRequest');
    const ports = Array.isArray(given['networks']) ? (given['networks'] as { port: string }[]).map(({ port }) => port) : [];
    if (typeof given['imageRef'] === 'string' && images.statusOf(given['imageRef']) !== 'active')
      throw new Refusal(400, 'the image is not active', 'badRequest');
    if (servers.size >= state.quota) throw new Refusal(403, 'Quota exceeded for instances: Requested 1', 'forbidden');
    for (const port of ports) networks.bind(port);
    const volumes = ((given['block_device_mapping_v2'] ?? []) as { uuid: string; source_type: string }[]).filter(
      (each) => each.source_type === 'volume',
    );
    const server: SimulatedServer = {
      id: randomUUID(),
      name: String(given['name']),
      status: 'BUILD',
      task: 'scheduling',
      power: 0,
      flavor,
      metadata: { ...(given['metadata'] as Record<string, string>) },
      imageRef: given['imageRef'] as string | undefined,
      ports,
      volumes: volumes.map(({ uuid }) => uuid),
      userData: given['user_data'] as string | undefined,
      hostname: given['hostname'] as string | undefined,
      reboots: 0,
    };
    servers.set(server.id, server);
    const fails = state.failNextBuild;
    state.failNextBuild = false;
    later(() => {
      if (server.status !== 'BUILD') return;
      server.task = fails ? null : 'spawning';
      if (fails)
        Object.assign(server, {
          status: 'ERROR',
          fault: { code: 500, message: 'No valid host was found. There are not enough hosts available.' },
        });
      else later(() => server.status === 'BUILD' && Object.assign(server, { status: 'ACTIVE', task: null, power: 1 }));
    });
    return { status: 202, body: { server: { id: server.id, adminPass: 'secret-of-nova' } } };
  }

  function shown(server: SimulatedServer): unknown {
    const { id, name, status, metadata, task, power, flavor, fault, volumes } = server;
    return {
      id,
      name,
      status,
      metadata,
      'OS-EXT-STS:task_state': task,
      'OS-EXT-STS:vm_state': status.toLowerCase(),
      'OS-EXT-STS:power_state': power,
      flavor: { vcpus: flavor.vcpus, ram: flavor.ram, disk: flavor.disk, original_name: flavor.name },
      'os-extended-volumes:volumes_attached': volumes.map((volume) => ({ id: volume })),
      ...(fault === undefined ? {} : { fault }),
    };
  }

  function act(server: SimulatedServer, body: Readonly<Record<string, unknown>>): Answered {
    const [action = ''] = Object.keys(body);
    const inState = (...wanted: readonly string[]): void => {
      if (!wanted.includes(server.status) || server.task !== null)
        throw new Refusal(
          409,
          `Cannot '${action}' instance ${server.id} while it is in vm_state ${server.status.toLowerCase()}`,
          'conflictingRequest',
        );
    };
    const through = (task: string, end: Partial<SimulatedServer>): void => {
      server.task = task;
      later(() => server.task === task && Object.assign(server, { task: null, ...end }));
    };
    switch (action) {
      case 'os-stop':
        inState('ACTIVE', 'ERROR');
        through('powering-off', { status: 'SHUTOFF', power: 4 });
        return { status: 202 };
      case 'os-start':
        inState('SHUTOFF');
        through('powering-on', { status: 'ACTIVE', power: 1 });
        return { status: 202 };
      case 'reboot':
        inState('ACTIVE', 'SHUTOFF');
        server.reboots += 1;
        through('rebooting', { status: 'ACTIVE', power: 1 });
        return { status: 202 };
      case 'createImage': {
        inState('ACTIVE', 'SHUTOFF', 'PAUSED', 'SUSPENDED');
        const { name, metadata } = body[action] as { name: string; metadata: Record<string, string> };
        const id = images.takeOf(server.imageRef, name, metadata);
        through('image_snapshot', {});
        return { status: 202, body: { image_id: id } };
      }
      default:
        throw new Refusal(400, `There is no such action: ${action}`, 'badRequest');
    }
  }

  return {
    version: '/v2.1',
    servers,
    state,
    versions: (base: string) => ({
      version: {
        id: 'v2.1',
        status: 'CURRENT',
        version: state.maxVersion,
        min_version: '2.1',
        links: [{ rel: 'self', href: `${base}/v2.1/` }],
      },
    }),
    async answer(asked: Asked): Promise<Answered> {
      const { method, path, query, body } = asked;
      if (method === 'POST' && path === '/servers') return create(asked);
      if (method === 'GET' && path === '/flavors/detail') return { status: 200, body: { flavors } };
      if (method === 'GET' && (path === '/servers/detail' || path === '/servers')) {
        // Small pages, so that everybody meets the next one.
        const { page, next } = pageOf([...servers.values()], query, 3);
        // The host of links is that behind a proxy, as it is with many a cloud.
        const links = next === undefined ? {} : { servers_links: [{ rel: 'next', href: `http://inside.test:8774/v2.1${path}?${next}` }] };
        return { status: 200, body: { servers: page.map(shown), ...links } };
      }
      const [, , id = '', below] = path.split('/');
      const server = servers.get(id);
      if (!path.startsWith('/servers/') || server === undefined) throw new Refusal(404, `Instance ${id} could not be found.`);
      if (method === 'GET') return { status: 200, body: { server: shown(server) } };
      if (method === 'POST' && below === 'action') return act(server, body ?? {});
      if (method === 'POST' && below === 'metadata') {
        Object.assign(server.metadata, body?.['metadata']);
        return { status: 200, body: { metadata: server.metadata } };
      }
      if (method === 'DELETE') {
        server.task = 'deleting';
        later(() => servers.delete(id));
        return { status: 204 };
      }
      throw new Refusal(405, 'no', 'badMethod');
    },
  };
}
