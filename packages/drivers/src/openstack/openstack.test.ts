import { createHash, randomBytes } from 'node:crypto';
import type { Problem } from '@virt8ra/contract';
import type {
  BlockStorageRealizationSpec,
  BlockStorageRealizationStatus,
  Connection,
  Handle,
  ImageContent,
  ImageRealizationSpec,
  ImageRealizationStatus,
  InstanceRealizationSpec,
  InstanceRealizationStatus,
  NetworkRealizationSpec,
  NetworkRealizationStatus,
} from '@virt8ra/driver';
import { type ConformanceWorld, conformance, facetCase } from '@virt8ra/driver/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createNodeWay } from '../_http/testing/node-way.js';
import { createOpenStackDriver } from './index.js';
import { type Simulator, startSimulator } from './testing/simulator.js';

const driver = createOpenStackDriver(createNodeWay(), { budget: { perSecond: 100_000, concurrency: 32 }, backoffMs: 2 });

const configurationOf = ({ authUrl, application }: Simulator, settings: Readonly<Record<string, string>> = {}) => ({
  site: 'cloud',
  settings: { authUrl, ...settings },
  credentials: { applicationCredentialId: application.id, applicationCredentialSecret: application.secret },
});
const connectTo = async (simulator: Simulator, settings: Readonly<Record<string, string>> = {}): Promise<Connection> =>
  await driver.connect(driver.parse(configurationOf(simulator, settings)));

const image: ImageRealizationSpec = {
  name: 'guest',
  format: 'qcow2',
  architecture: 'amd64',
  firmware: 'BIOS',
  diskBytes: 100_000_000,
  source: { type: 'content' },
};
const network: NetworkRealizationSpec = { vni: 7, mtu: 1400, gateways: ['10.0.0.1/24'] };
const volume: BlockStorageRealizationSpec = { sizeBytes: 1_000_000, source: { type: 'blank' }, settle: false };
const contentOf = (bytes: Buffer): ImageContent => ({
  bytes: bytes.length,
  sha512: createHash('sha512').update(bytes).digest('hex'),
  async *open() {
    for (let at = 0; at < bytes.length; at += 65_536) yield bytes.subarray(at, at + 65_536);
  },
});

function instanceOn(boot: Handle, nics: InstanceRealizationSpec['nics'] = []): InstanceRealizationSpec {
  return {
    instance: 'res_conformance',
    name: 'web',
    architecture: 'amd64',
    firmware: 'BIOS',
    vCPU: 1,
    memoryMiB: 512,
    power: 'on',
    restarts: 0,
    volumes: [boot],
    nics,
    seed: {
      instanceId: 'i-1',
      hostname: 'web',
      userData: '#cloud-config\npassword: the-user-data-password\n',
      sshKeys: ['ssh-ed25519 the-ssh-key'],
    },
    exposedPorts: [],
    permit: { epoch: 1, holder: 'cloud' },
  };
}

function need<Facet>(facet: Facet | undefined): Facet {
  if (facet === undefined) throw new Error('a facet is missing');
  return facet;
}

async function readyImage(
  connection: Connection,
  key: string,
  content = randomBytes(300_000),
): Promise<{ handle: Handle; content: Buffer }> {
  const images = need(connection.images);
  const handle = await images.create(image, key);
  await images.write(handle, contentOf(content));
  return { handle, content };
}

async function bytesOf(content: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const pieces: Uint8Array[] = [];
  for await (const piece of content) pieces.push(piece);
  return Buffer.concat(pieces);
}

async function openWorld(): Promise<ConformanceWorld> {
  const simulator = await startSimulator({ cinder: true });
  const connection = await connectTo(simulator);
  const { handle: boot } = await readyImage(connection, 'boot');
  const instance = instanceOn(boot);
  return {
    connection,
    reconnect: async () => await connectTo(simulator),
    cases: [
      facetCase<InstanceRealizationSpec, InstanceRealizationStatus>({
        facet: 'instances',
        open: (of) => of.instances,
        spec: instance,
        changed: { ...instance, power: 'off' },
        refused: [
          { title: 'an instance without boot volume', spec: { ...instance, volumes: [] } },
          { title: 'an instance of a size that no flavour is near', spec: { ...instance, vCPU: 8 } },
          { title: 'an instance that is to be off', spec: { ...instance, power: 'off' } },
          { title: 'an instance on a host', spec: { ...instance, host: 'alpha' } },
          { title: 'an instance by UEFI from an image for BIOS', spec: { ...instance, firmware: 'UEFI' } },
          { title: 'an instance with exposed ports', spec: { ...instance, exposedPorts: [80] } },
          {
            title: 'an instance with more user data than fits',
            spec: { ...instance, seed: { ...instance.seed, userData: `#!/bin/sh\n${'x'.repeat(60_000)}` } },
          },
        ],
      }),
      facetCase<ImageRealizationSpec, ImageRealizationStatus>({
        facet: 'images',
        open: (of) => of.images,
        spec: image,
        changed: { ...image, name: 'guest again' },
        refused: [{ title: 'an image without a name', spec: { ...image, name: '' } }],
      }),
      facetCase<NetworkRealizationSpec, NetworkRealizationStatus>({
        facet: 'networks',
        open: (of) => of.networks,
        spec: network,
        changed: { ...network, mtu: 1450 },
        refused: [
          { title: 'a network with an absurd mtu', spec: { ...network, mtu: 100_000 } },
          { title: 'a network with two subnets', spec: { ...network, gateways: ['10.0.0.1/24', '10.0.1.1/24'] } },
          { title: 'a network with a gateway that is none', spec: { ...network, gateways: ['10.0.0.x/24'] } },
        ],
      }),
      facetCase<BlockStorageRealizationSpec, BlockStorageRealizationStatus>({
        facet: 'blockStorages',
        open: (of) => of.blockStorages,
        spec: volume,
        changed: { ...volume, sizeBytes: 3_000_000_000 },
        refused: [
          { title: 'a block storage that is to be received', spec: { ...volume, source: { type: 'incoming', transferId: 't' } } },
          {
            title: 'a block storage of an image that is not there',
            spec: { ...volume, source: { type: 'image', sha256: 'a'.repeat(64), bytes: 1, format: 'raw' } },
          },
        ],
      }),
    ],
    async cutOff() {
      simulator.faults.away = true;
    },
    async restore() {
      simulator.faults.away = false;
    },
    loseNextReply() {
      simulator.faults.loseReply = { method: 'POST', path: /\/(servers|images|networks|volumes)$/ };
    },
    secrets: [
      'the-user-data-password',
      'the-ssh-key',
      'the-application-secret',
      'gAAAA-',
      Buffer.from('the-user-data-password').toString('base64').slice(0, 12),
    ],
    async close() {
      await connection.close();
      await simulator.close();
    },
  };
}

conformance('openstack', openWorld, {
  facets: ['instances', 'images', 'networks', 'blockStorages'],
  runner: { describe, it, beforeAll, afterAll },
});

describe('an OpenStack cloud', () => {
  let simulator: Simulator;
  let connection: Connection;
  let boot: Handle;
  let content: Buffer;
  beforeAll(async () => {
    simulator = await startSimulator();
    connection = await connectTo(simulator);
    ({ handle: boot, content } = await readyImage(connection, 'boot'));
  });
  afterAll(async () => {
    await connection.close();
    await simulator.close();
  });

  const seen = async (handle: Handle) => await need(connection.instances).observe(handle);
  const settled = async (handle: Handle, activity: string): Promise<void> =>
    await expect.poll(async () => await seen(handle), { interval: 5 }).toMatchObject({ type: 'present', status: { activity } });

  it('without Cinder refuses block storages and says why, and has none', async () => {
    const blockStorages = need(connection.blockStorages);
    await expect(blockStorages.create(volume, 'none')).rejects.toMatchObject({
      kind: 'unsupported',
      message: expect.stringContaining('Cinder'),
    });
    expect(await blockStorages.find('none')).toBeUndefined();
    expect((await blockStorages.list()[Symbol.asyncIterator]().next()).done).toBe(true);
  });

  it('gives an instance its own address and MAC, its keys beside its user data, and takes its ports away with it', async () => {
    const { instances, networks } = { instances: need(connection.instances), networks: need(connection.networks) };
    const net = await networks.create(network, 'net');
    const nic = { key: 'nic-1', network: net, mac: '52:54:00:00:00:01', addresses: ['10.0.0.5/24'], nameservers: [] };
    const handle = await instances.create(instanceOn(boot, [nic]), 'with-nic');
    await settled(handle, 'running');
    const [port] = [...simulator.networks.rows.ports.values()];
    expect(port).toMatchObject({ mac_address: nic.mac, fixed_ips: [{ ip_address: '10.0.0.5' }] });
    const server = [...simulator.compute.servers.values()].find(({ name }) => name === 'web');
    expect(server?.flavor.name).toBe('tiny');
    const given = Buffer.from(server?.userData ?? '', 'base64').toString();
    expect(given).toContain(Buffer.from('#cloud-config\npassword: the-user-data-password\n').toString('base64'));
    await expect(
      instances.create({ ...instanceOn(boot, [{ ...nic, key: 'other', mac: '52:54:00:00:00:02' }]) }, 'same-address'),
    ).rejects.toMatchObject({
      kind: 'conflict',
      message: expect.stringContaining('already allocated'),
    });
    await expect(networks.remove(net)).rejects.toMatchObject({ kind: 'unavailable' });
    await instances.remove(handle);
    await expect.poll(async () => (await seen(handle)).type).toBe('absent');
    expect(simulator.networks.rows.ports.size).toBe(0);
    await networks.remove(net);
    expect((await networks.observe(net)).type).toBe('absent');
  });

  it('leaves no port when the quota is full, and says which', async () => {
    const net = await need(connection.networks).create(network, 'net-full');
    const nic = { key: 'nic', network: net, mac: '52:54:00:00:00:03', addresses: ['10.0.0.6/24'], nameservers: [] };
    simulator.compute.state.quota = 0;
    await expect(need(connection.instances).create(instanceOn(boot, [nic]), 'too-many')).rejects.toMatchObject({
      kind: 'exhausted',
      message: expect.stringContaining('Quota exceeded'),
      facts: { requestId: expect.stringMatching(/^req-/) },
    });
    simulator.compute.state.quota = 1000;
    expect(simulator.networks.rows.ports.size).toBe(0);
    await need(connection.networks).remove(net);
  });

  it('stops, starts and restarts once for each time it is asked, and shows what runs and not what is recorded', async () => {
    const instances = need(connection.instances);
    const spec = instanceOn(boot);
    const handle = await instances.create(spec, 'power');
    await settled(handle, 'running');
    const server = [...simulator.compute.servers.values()].find(({ metadata }) => metadata['virt8ra_key'] === 'power');
    if (server === undefined) throw new Error('no server');
    await instances.update(handle, { ...spec, power: 'off' });
    await instances.update(handle, { ...spec, power: 'off' });
    await settled(handle, 'stopped');
    await instances.update(handle, spec);
    await settled(handle, 'running');
    for (const _ of [1, 2, 3]) {
      await instances.update(handle, { ...spec, restarts: 1 });
      await settled(handle, 'running');
    }
    expect(server.reboots).toBe(1);
    // The guest has shut itself down; compute records it a while later.
    server.power = 4;
    await settled(handle, 'stopped');
    server.status = 'SOMETHING_NEW';
    expect(await seen(handle)).toMatchObject({
      type: 'unknown',
      reason: expect.stringContaining('SOMETHING_NEW'),
      lastSeen: { status: { activity: 'stopped' } },
    });
    server.status = 'ACTIVE';
    await instances.remove(handle);
  });

  it('tells why a server could not be built, and removes it all the same', async () => {
    const instances = need(connection.instances);
    simulator.compute.state.failNextBuild = true;
    const handle = await instances.create(instanceOn(boot), 'nowhere');
    await expect
      .poll(async () => await seen(handle))
      .toMatchObject({ type: 'broken', problem: { kind: 'exhausted', message: expect.stringContaining('No valid host') } });
    await instances.remove(handle);
    await expect.poll(async () => (await seen(handle)).type).toBe('absent');
  });

  it('is asked again under a new token when one is refused, and makes nothing twice by it', async () => {
    const before = simulator.tokens.length;
    simulator.revokeTokens();
    const handle = await need(connection.instances).create(instanceOn(boot), 'after-expiry');
    expect(simulator.tokens.length).toBe(before + 1);
    expect([...simulator.compute.servers.values()].filter(({ metadata }) => metadata['virt8ra_key'] === 'after-expiry')).toHaveLength(1);
    await need(connection.instances).remove(handle);
  });

  it('waits as it is told, and says so when that is long', async () => {
    simulator.faults.refuse = { path: /servers/, status: 413, headers: { 'retry-after': '0' }, times: 1 };
    expect(await need(connection.instances).find('nobody')).toBeUndefined();
    simulator.faults.refuse = { path: /^POST .*servers$/, status: 429, headers: { 'retry-after': '77' }, times: 1 };
    const other = createOpenStackDriver(createNodeWay(), { backoffMs: 1 });
    const own = await other.connect(other.parse(configurationOf(simulator)));
    await expect(need(own.instances).create(instanceOn(boot), 'too-fast')).rejects.toMatchObject({
      kind: 'throttled',
      retryAfterSeconds: 77,
    });
    // Everybody of that credential holds still, without asking.
    const asked = simulator.asked.length;
    await expect(need(own.instances).find('x')).rejects.toMatchObject({ kind: 'throttled' });
    expect(simulator.asked).toHaveLength(asked);
    await own.close();
  });

  it('never repeats a creation whose outcome it does not know', async () => {
    const count = (): number => simulator.asked.filter((line) => line === 'POST /compute/v2.1/servers').length;
    const before = count();
    simulator.faults.refuse = { path: /^POST .*servers$/, status: 504, times: 9 };
    await expect(need(connection.instances).create(instanceOn(boot), 'gateway')).rejects.toMatchObject({ kind: 'unknown-outcome' });
    simulator.faults.refuse = undefined;
    expect(count()).toBe(before + 1);
  });

  it('speaks the newest version of compute that both sides know', async () => {
    simulator.compute.state.maxVersion = '2.9';
    const old = await connectTo(simulator);
    const handle = await need(old.instances).create(instanceOn(boot), 'old-cloud');
    expect(simulator.compute.servers.get(JSON.parse(handle.value).id as string)?.hostname).toBeUndefined();
    simulator.compute.state.maxVersion = '2.93';
    await need(old.instances).remove(handle);
    await old.close();
  });

  it('gives and takes images by their bytes: broken connections are gone on with, and what is not proven is refused', async () => {
    const images = need(connection.images);
    simulator.faults.breakDownloadsAt.push(1, 100_000, 250_000);
    const before = simulator.asked.length;
    expect((await bytesOf(images.read(boot))).equals(content)).toBe(true);
    expect(simulator.asked.slice(before).filter((line) => line.endsWith('/file'))).toHaveLength(4);
    expect((await bytesOf(images.read(boot, { start: 299_000 }))).equals(content.subarray(299_000))).toBe(true);
    simulator.faults.damageDownloads = true;
    await expect(bytesOf(images.read(boot))).rejects.toMatchObject({ kind: 'conflict', message: expect.stringContaining('sha512') });
    simulator.faults.damageDownloads = false;

    const other = await images.create(image, 'other');
    await expect(images.write(other, { ...contentOf(content), sha512: '0'.repeat(128) })).rejects.toMatchObject({
      kind: 'conflict',
      message: expect.stringContaining('announced'),
    });
    const given = async (): Promise<unknown> =>
      await images.write(other, contentOf(content)).then(
        () => 'given',
        (problem: Problem) => problem.kind,
      );
    await expect.poll(given).toBe('given');
    expect(await given()).toBe('given');
    await expect(images.write(other, contentOf(randomBytes(10)))).rejects.toMatchObject({ kind: 'conflict' });
    expect(await images.observe(other)).toMatchObject({
      status: { state: 'ready', bytes: content.length, digest: { algorithm: 'sha512' } },
    });
    await images.remove(other);
    await expect(images.create(image, 'other')).rejects.toMatchObject({ kind: 'conflict', message: expect.stringContaining('deleted') });
  });

  it('takes an image of an instance, once for each key, to be read like any other', async () => {
    const { instances, images } = { instances: need(connection.instances), images: need(connection.images) };
    const server = await instances.create(instanceOn(boot), 'source');
    await settled(server, 'running');
    const spec: ImageRealizationSpec = { ...image, name: 'taken', source: { type: 'instance', instance: server } };
    const taken = await images.create(spec, 'taken');
    expect(await images.create(spec, 'taken')).toEqual(taken);
    await expect
      .poll(async () => await images.observe(taken))
      .toMatchObject({ type: 'present', status: { state: 'ready', format: 'qcow2' } });
    expect((await bytesOf(images.read(taken))).subarray(0, content.length).equals(content)).toBe(true);
    await instances.remove(server);
  });

  it('does not take what is in another project for gone', async () => {
    const handle = await need(connection.instances).create(instanceOn(boot), 'elsewhere');
    const moved = { ...handle, value: JSON.stringify({ ...JSON.parse(handle.value), project: 'f'.repeat(32), id: 'unknown' }) };
    expect(await seen(moved)).toMatchObject({ type: 'unknown', reason: expect.stringContaining('project') });
    await need(connection.instances).remove(handle);
  });
});

describe('access to an OpenStack cloud', () => {
  it('is by application credential or by password, to one region, and says what is wrong with it', async () => {
    const simulator = await startSimulator({ regions: ['north', 'south'] });
    const byPassword = { userName: simulator.user.name, password: simulator.user.password, projectName: 'ours' };
    const probe = async (input: unknown) => {
      const connection = await driver.connect(driver.parse(input));
      try {
        return await connection.probe();
      } finally {
        await connection.close();
      }
    };
    expect(await probe(configurationOf(simulator, { region: 'south' }))).toEqual({ healthy: true });
    expect(await probe({ ...configurationOf(simulator, { region: 'north' }), credentials: byPassword })).toEqual({ healthy: true });
    expect(await probe(configurationOf(simulator))).toMatchObject({ healthy: false, reason: expect.stringContaining('north, south') });
    const wrong = await probe({
      ...configurationOf(simulator, { region: 'north' }),
      credentials: { ...byPassword, password: 'a-wrong-one' },
    });
    expect(wrong).toMatchObject({ healthy: false, reason: expect.stringContaining('credentials') });
    expect(JSON.stringify(wrong)).not.toContain('a-wrong-one');
    await simulator.close();
  });

  it.each([
    [{ authUrl: 'nowhere' }, '/spec/settings/authUrl'],
    [{ authUrl: 'http://cloud.example/v3' }, '/spec/settings/authUrl'],
    [{ authUrl: 'https://me:secret@cloud.example/v3' }, '/spec/settings/authUrl'],
    [{ authUrl: 'https://cloud.example', interface: 'admin' }, '/spec/settings/interface'],
    [{ authUrl: 'https://cloud.example', colour: 'red' }, '/spec/settings/colour'],
  ])('is refused with the settings %j', (settings, pointer) => {
    expect(() => driver.access?.checkAccount(settings)).toThrow(expect.objectContaining({ kind: 'validation', sources: [{ pointer }] }));
  });

  it('needs a whole credential', () => {
    for (const given of [
      {},
      { applicationCredentialId: 'x' },
      { userName: 'a', password: 'b' },
      { userName: 'a', password: 'b', projectName: 'c', extra: 'd' },
    ])
      expect(() => driver.access?.checkCredentials(given)).toThrow(expect.objectContaining({ kind: 'validation' }));
    driver.access?.checkCredentials({ userName: 'a', password: 'b', projectName: 'c' });
  });
});
