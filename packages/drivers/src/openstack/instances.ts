import { Problem, toProblem } from '@virt8ra/contract';
import type { Handle, InstanceRealizationSpec, InstanceRealizationStatus, InstancesFacet } from '@virt8ra/driver';
import type { CloudClient } from './client.js';
import { assertExpressible } from './expressible.js';
import { chooseFlavor } from './flavors.js';
import { type CloudObject, handleFrom, objectFrom } from './handle.js';
import { readServer } from './instance-state.js';
import { keyMark } from './mark.js';
import { ensurePorts, portsOf, removePorts } from './ports.js';
import type { Flavor, Image, Server } from './schema.js';
import { compareVersions } from './services.js';
import { assertOwnWords, createSight } from './sight.js';
import type { SiteParts } from './site-parts.js';
import { userDataFrom } from './user-data.js';

const restartsMark = 'virt8ra_restarts';
const gib = 1024 ** 3;

export function createInstancesFacet({ client, source, lock, availabilityZone }: SiteParts): InstancesFacet {
  const sight = createSight<InstanceRealizationStatus>(client, source);

  const servers = (): AsyncIterable<Server> => client.list<Server>('compute', '/servers/detail', 'servers');
  const handleOf = async (id: string, key: string): Promise<Handle> =>
    handleFrom({ type: 'server', id, key, project: await client.identity.project() });
  const find = async (key: string): Promise<Handle | undefined> => {
    for await (const { id, metadata, status } of servers())
      if (metadata[keyMark] === key && status !== 'DELETED') return await handleOf(id, key);
    return undefined;
  };
  const look = async ({ id }: CloudObject): Promise<Server | undefined> => {
    const { status, body, answer } = await client.call<{ readonly server: Server }>('compute', 'GET', `/servers/${id}`, { also: [404] });
    if (status !== 404) return body.server;
    assertOwnWords('compute', answer.text);
    return undefined;
  };

  async function create(spec: InstanceRealizationSpec, key: string): Promise<Handle> {
    assertExpressible(spec);
    const boot = await bootOf(client, spec);
    const flavors: Flavor[] = [];
    for await (const flavor of client.list<Flavor>('compute', '/flavors/detail', 'flavors')) flavors.push(flavor);
    const { vCPU, memoryMiB } = spec;
    const flavor = chooseFlavor(flavors, { vCPU, memoryMiB, localDiskGiB: boot.localDiskGiB });
    const userData = userDataFrom(spec.seed);
    const found = await client.find('compute');
    const named = compareVersions(found?.microversion ?? '2.1', '2.90') >= 0;
    try {
      const ports = await ensurePorts(client, key, spec.nics);
      const server = {
        name: spec.name,
        flavorRef: flavor.id,
        ...boot.request,
        ...(named && /^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/i.test(spec.seed.hostname) ? { hostname: spec.seed.hostname } : {}),
        networks:
          ports.length === 0 ? (compareVersions(found?.microversion ?? '2.1', '2.37') >= 0 ? 'none' : []) : ports.map((port) => ({ port })),
        metadata: { [keyMark]: key, virt8ra_instance: spec.instance, [restartsMark]: String(spec.restarts) },
        // Its addresses are given, and no DHCP server of the cloud knows them.
        config_drive: true,
        ...(availabilityZone === undefined ? {} : { availability_zone: availabilityZone }),
        ...(userData === undefined ? {} : { user_data: userData }),
      };
      const { body } = await client.call<{ readonly server: { readonly id: string } }>('compute', 'POST', '/servers', { json: { server } });
      return await handleOf(body.server.id, key);
    } catch (thrown) {
      const problem = toProblem(thrown);
      // Refused for good: nothing of it stays. After a lost reply the server may be there, and needs its ports.
      if (problem.kind !== 'unknown-outcome') await removePorts(client, key).catch(() => undefined);
      throw problem;
    }
  }

  return {
    create: async (spec, key) => await lock.within(`server ${key}`, async () => (await find(key)) ?? (await create(spec, key))),
    find,
    async observe(handle) {
      const object = objectFrom(handle, 'server');
      return await sight.observe(object, async () => {
        const server = await look(object);
        const reading = server === undefined ? undefined : readServer(server);
        if (server === undefined || reading === undefined) {
          const left = await portsOf(client, object.key);
          if (left.length === 0) return { type: 'absent' };
          return { type: 'changing', status: { activity: 'stopped', waitingFor: 'its ports are still there', access: [] } };
        }
        const status = statusFrom(server, reading);
        if (reading.problem !== undefined) return { type: 'broken', status, problem: reading.problem };
        return { type: reading.settled ? 'present' : 'changing', status };
      });
    },
    async update(handle, spec) {
      const object = objectFrom(handle, 'server');
      const server = await look(object);
      const reading = server === undefined ? undefined : readServer(server);
      if (server === undefined || reading === undefined) throw new Problem('not-found', `the server ${object.id} is gone`);
      assertExpressible(spec, 'update');
      assertSameSize(server, spec);
      assertSameVolumes(server, spec);
      // One thing at a time: what is under way is waited for.
      if (!reading.settled || (server['OS-EXT-STS:task_state'] ?? null) !== null) return;
      const act = async (json: unknown): Promise<boolean> => {
        const { status } = await client.call('compute', 'POST', `/servers/${object.id}/action`, { json, also: [409], again: 'always' });
        return status !== 409;
      };
      const on = spec.power === 'on' && spec.permit !== undefined;
      const isOn = reading.activity === 'running' || reading.activity === 'paused';
      if (!on && isOn) await act({ 'os-stop': null });
      else if (on && reading.activity === 'stopped') await act({ 'os-start': null });
      else if (on && server.status === 'PAUSED') await act({ unpause: null });
      else if (on && server.status === 'SUSPENDED') await act({ resume: null });
      else if (on && spec.restarts > Number(server.metadata[restartsMark] ?? 0) && (await act({ reboot: { type: 'SOFT' } })))
        await client.call('compute', 'POST', `/servers/${object.id}/metadata`, {
          json: { metadata: { [restartsMark]: String(spec.restarts) } },
          again: 'always',
        });
    },
    async remove(handle) {
      const { id, key, project } = objectFrom(handle, 'server');
      client.assertOpen();
      if ((await client.identity.project()) !== project)
        throw new Problem('unavailable', `the server is in project ${project}, and the account is for another one now`);
      await client.call('compute', 'DELETE', `/servers/${id}`, { also: [404, 409] });
      await removePorts(client, key);
    },
    async *list() {
      for await (const { id, metadata } of servers()) {
        const key = metadata[keyMark];
        if (key !== undefined) yield { handle: await handleOf(id, key), key };
      }
    },
  };
}

function statusFrom(server: Server, reading: NonNullable<ReturnType<typeof readServer>>): InstanceRealizationStatus {
  const startedAt = server['OS-SRV-USG:launched_at'] ?? undefined;
  return {
    activity: reading.activity,
    ...(reading.waitingFor === undefined ? {} : { waitingFor: reading.waitingFor }),
    ...(reading.rescued === undefined ? {} : { rescued: true }),
    ...(reading.trouble === undefined ? {} : { trouble: reading.trouble }),
    ...(startedAt === undefined ? {} : { startedAt: `${startedAt.replace(/Z?$/, '')}Z` }),
    restarts: Number(server.metadata[restartsMark] ?? 0),
    access: [],
  };
}

interface Boot {
  readonly request: Readonly<Record<string, unknown>>;
  readonly localDiskGiB: number | undefined;
}

/** From an image: a disk of the flavour's size, made of it. From a volume: that. */
async function bootOf(client: CloudClient, { volumes, firmware, architecture }: InstanceRealizationSpec): Promise<Boot> {
  const [first, ...data] = volumes.map((volume) => objectFrom(volume, 'image', 'volume'));
  if (first === undefined) throw new Problem('unsupported', 'an instance needs a boot volume');
  if (data.some(({ type }) => type === 'image')) throw new Problem('unsupported', 'only the boot disk can be made of an image here');
  const attached = data.map(({ id }) => ({
    uuid: id,
    source_type: 'volume',
    destination_type: 'volume',
    boot_index: -1,
    delete_on_termination: false,
  }));
  if (first.type === 'volume') {
    const boot = { uuid: first.id, source_type: 'volume', destination_type: 'volume', boot_index: 0, delete_on_termination: false };
    return { request: { block_device_mapping_v2: [boot, ...attached] }, localDiskGiB: undefined };
  }
  const { body: image } = await client.call<Image>('image', 'GET', `/images/${first.id}`);
  if (image.status !== 'active')
    throw new Problem('conflict', `the image ${first.id} is ${image.status}; it has to be given its content first`);
  const boots = image.hw_firmware_type === 'uefi' ? 'UEFI' : 'BIOS';
  if (boots !== firmware) throw new Problem('unsupported', `the image boots by ${boots}, and the instance by ${firmware}`);
  const made = image.hw_architecture === 'aarch64' ? 'arm64' : 'amd64';
  if (image.hw_architecture !== undefined && made !== architecture)
    throw new Problem('unsupported', `the image is for ${made}, and the instance for ${architecture}`);
  const local = { uuid: first.id, source_type: 'image', destination_type: 'local', boot_index: 0, delete_on_termination: true };
  const localDiskGiB = Math.max(image.min_disk ?? 0, Math.ceil((image.virtual_size ?? 0) / gib), 1);
  return {
    request: { imageRef: first.id, ...(attached.length === 0 ? {} : { block_device_mapping_v2: [local, ...attached] }) },
    localDiskGiB,
  };
}

function assertSameSize({ flavor }: Server, { vCPU, memoryMiB }: InstanceRealizationSpec): void {
  if (flavor.vcpus === undefined || flavor.ram === undefined) return;
  if (flavor.vcpus < vCPU || flavor.ram < memoryMiB)
    throw new Problem(
      'unsupported',
      `the server has ${flavor.vcpus} vCPU and ${flavor.ram} MiB, and ${vCPU} vCPU and ${memoryMiB} MiB are asked for: its size cannot be changed here`,
    );
}

function assertSameVolumes(server: Server, spec: InstanceRealizationSpec): void {
  const wanted = spec.volumes.map((volume) => objectFrom(volume, 'image', 'volume')).filter(({ type }) => type === 'volume');
  const has = (server['os-extended-volumes:volumes_attached'] ?? []).map(({ id }) => id).sort();
  if (JSON.stringify(wanted.map(({ id }) => id).sort()) !== JSON.stringify(has))
    throw new Problem('unsupported', 'block storages are attached here when the instance is made, and not later');
}
