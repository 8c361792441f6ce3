import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createReadStream, existsSync, readFileSync } from 'node:fs';
import { mkdtemp, open, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Problem } from '@virt8ra/contract';
import type {
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
import type { HttpWay } from '../_http/way.js';
import { createOpenStackDriver } from './index.js';

/** Against a real OpenStack: `npm run openstack-lab` starts one and runs this file in its network. */

interface Access {
  readonly authUrl: string;
  readonly region: string;
  readonly application: Readonly<Record<string, string>>;
  readonly password: Readonly<Record<string, string>>;
}

const file = process.env['OPENSTACK_LAB'];
const access = file !== undefined && existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as Access) : undefined;
const guestImage = join(import.meta.dirname, '../../../../.cache/guest/guest.qcow2');
const minutes = (count: number): number => count * 60_000;

/** A way out that can be cut, and can lose a reply to a creation. */
function createShakyWay(): HttpWay & { away: boolean; loseReply: boolean } {
  const way = createNodeWay();
  return {
    away: false,
    loseReply: false,
    open: way.open,
    async send(url, question) {
      if (this.away) throw new Problem('unavailable', 'the way out is cut', { facts: { sent: true } });
      const answer = await way.send(url, question);
      if (!this.loseReply || question.method !== 'POST' || !/\/(servers|images|networks)$/.test(url.pathname)) return answer;
      this.loseReply = false;
      answer.resume();
      throw new Problem('unavailable', 'the reply was lost');
    },
  };
}

const image: ImageRealizationSpec = {
  name: 'conformance',
  format: 'raw',
  architecture: 'amd64',
  firmware: 'BIOS',
  diskBytes: 1_048_576,
  source: { type: 'content' },
};
const network: NetworkRealizationSpec = { vni: 7, mtu: 1400, gateways: ['10.77.0.1/24'] };

function instanceOn(boot: Handle, nics: InstanceRealizationSpec['nics'], memoryMiB = 128): InstanceRealizationSpec {
  return {
    instance: 'res_real',
    name: 'real',
    architecture: 'amd64',
    firmware: 'BIOS',
    vCPU: 1,
    memoryMiB,
    power: 'on',
    restarts: 0,
    volumes: [boot],
    nics,
    seed: {
      instanceId: 'i-1',
      hostname: 'real',
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

async function contentOf(path: string): Promise<ImageContent> {
  const hash = createHash('sha512');
  for await (const piece of createReadStream(path)) hash.update(piece as Buffer);
  return { bytes: (await stat(path)).size, sha512: hash.digest('hex'), open: () => createReadStream(path) };
}

const zeros: ImageContent = {
  bytes: 1_048_576,
  sha512: createHash('sha512').update(Buffer.alloc(1_048_576)).digest('hex'),
  async *open() {
    yield Buffer.alloc(1_048_576);
  },
};

if (access === undefined) {
  describe('driver openstack against a real OpenStack', () => {
    it.skip('no OpenStack is there to be asked; `npm run openstack-lab` makes one', () => undefined);
  });
} else {
  const way = createShakyWay();
  const driver = createOpenStackDriver(way, { budget: { perSecond: 200 } });
  const settings = { authUrl: access.authUrl, region: access.region };
  const connect = async (credentials = access.application): Promise<Connection> =>
    await driver.connect(driver.parse({ site: 'lab', settings, credentials }));
  /** What an earlier run, or a test, has left. */
  const purge = async (connection: Connection): Promise<void> => {
    for (const facet of [need(connection.instances), need(connection.networks), need(connection.images)])
      for await (const { handle } of facet.list()) {
        const deadline = performance.now() + minutes(1);
        for (let gone = false; !gone; ) {
          await facet.remove(handle).catch(() => undefined);
          gone = (await facet.observe(handle)).type === 'absent';
          if (!gone && performance.now() > deadline) throw new Error(`${handle.value} cannot be removed`);
          if (!gone) await new Promise((resolve) => setTimeout(resolve, 500));
        }
      }
  };

  const openWorld = async (): Promise<ConformanceWorld> => {
    const connection = await connect();
    await purge(connection);
    const boot = await need(connection.images).create(image, 'boot');
    await need(connection.images).write(boot, zeros);
    const instance = instanceOn(boot, []);
    return {
      connection,
      reconnect: async () => await connect(access.password),
      cases: [
        facetCase<ImageRealizationSpec, ImageRealizationStatus>({
          facet: 'images',
          open: (of) => of.images,
          spec: image,
          changed: { ...image, name: 'conformance again' },
          refused: [{ title: 'an image without a name', spec: { ...image, name: '' } }],
        }),
        facetCase<NetworkRealizationSpec, NetworkRealizationStatus>({
          facet: 'networks',
          open: (of) => of.networks,
          spec: network,
          changed: { ...network, mtu: 1450 },
          refused: [{ title: 'a network with two subnets', spec: { ...network, gateways: ['10.0.0.1/24', '10.0.1.1/24'] } }],
        }),
        facetCase<InstanceRealizationSpec, InstanceRealizationStatus>({
          facet: 'instances',
          open: (of) => of.instances,
          spec: instance,
          changed: { ...instance, power: 'off' },
          refused: [
            { title: 'an instance of a size that no flavour is near', spec: { ...instance, vCPU: 8 } },
            { title: 'an instance by UEFI from an image for BIOS', spec: { ...instance, firmware: 'UEFI' } },
          ],
        }),
      ],
      async cutOff() {
        way.away = true;
      },
      async restore() {
        way.away = false;
      },
      loseNextReply() {
        way.loseReply = true;
      },
      secrets: [
        'the-user-data-password',
        'the-ssh-key',
        access.application['applicationCredentialSecret'] ?? '',
        access.password['password'] ?? '',
      ],
      patienceSeconds: 120,
      async close() {
        await connection.close();
      },
    };
  };
  conformance('openstack against a real OpenStack', openWorld, {
    facets: ['images', 'networks', 'instances'],
    runner: { describe, it, beforeAll: (body) => beforeAll(body, minutes(3)), afterAll: (body) => afterAll(body, minutes(1)) },
    timeoutMs: minutes(6),
  });

  describe.skipIf(!existsSync(guestImage))('disks to and from a real OpenStack', { timeout: minutes(12) }, () => {
    let connection: Connection;
    let folder: string;
    beforeAll(async () => {
      connection = await connect();
      folder = await mkdtemp(join(tmpdir(), 'openstack-real-'));
    }, minutes(2));
    afterAll(async () => {
      await purge(connection);
      await connection.close();
      await rm(folder, { recursive: true, force: true });
    }, minutes(3));

    it('carry what the guest wrote: from a file into the cloud, out of it, and in again', async () => {
      const { images, instances, networks } = {
        images: need(connection.images),
        instances: need(connection.instances),
        networks: need(connection.networks),
      };
      const guest: ImageRealizationSpec = { ...image, name: 'guest', format: 'qcow2', diskBytes: 67_108_864 };
      const seen = async (handle: Handle) => await instances.observe(handle);
      const settled = async (handle: Handle, activity: string): Promise<void> =>
        await expect
          .poll(async () => await seen(handle), { timeout: minutes(4), interval: 500 })
          .toMatchObject({ type: 'present', status: { activity } });

      const uploaded = await images.create(guest, 'guest');
      await expect(images.write(uploaded, { ...(await contentOf(guestImage)), sha512: '0'.repeat(128) })).rejects.toMatchObject({
        kind: 'conflict',
      });
      await expect
        .poll(async () => await images.observe(uploaded), { timeout: minutes(1) })
        .toMatchObject({ status: { state: 'awaiting' } });
      const content = await contentOf(guestImage);
      await expect
        .poll(async () => await images.write(uploaded, content).then(() => 'given', String), { timeout: minutes(2) })
        .toBe('given');
      const net = await networks.create(network, 'net');
      const nic = { key: 'nic', network: net, mac: '52:54:00:77:00:05', addresses: ['10.77.0.5/24'], nameservers: [] };
      const server = await instances.create(instanceOn(uploaded, [nic], 192), 'first');
      await settled(server, 'running');
      // A guest of ours says on its console how often its disk has been booted from.
      await bootedAs(server, 1);
      await instances.update(server, { ...instanceOn(uploaded, [nic], 192), power: 'off' });
      await settled(server, 'stopped');

      const taken = await images.create({ ...guest, name: 'taken', source: { type: 'instance', instance: server } }, 'taken');
      await expect
        .poll(async () => await images.observe(taken), { timeout: minutes(4), interval: 500 })
        .toMatchObject({ type: 'present', status: { state: 'ready' } });
      const path = join(folder, 'taken.qcow2');
      await download(taken, path);
      await instances.remove(server);
      await expect.poll(async () => (await seen(server)).type, { timeout: minutes(2) }).toBe('absent');

      // What came out starts here, with what was written in the cloud, and writes again.
      expect(await bootHere(path)).toContain('boot 2 after');
      const back = await images.create({ ...guest, name: 'back' }, 'back');
      await images.write(back, await contentOf(path));
      const again = await instances.create(instanceOn(back, [nic], 192), 'again');
      await settled(again, 'running');
      await bootedAs(again, 3);
      await instances.remove(again);
      await expect.poll(async () => (await seen(again)).type, { timeout: minutes(2) }).toBe('absent');
    });

    /** In pieces, as after interruptions: the first from the beginning, the rest from where it broke off. */
    async function download(handle: Handle, path: string): Promise<void> {
      const target = await open(path, 'w');
      let position = 0;
      for await (const piece of need(connection.images).read(handle)) {
        await target.write(piece, 0, piece.length, position);
        position += piece.length;
        if (position > 1_000_000) break;
      }
      const status = await need(connection.images).observe(handle);
      for await (const piece of need(connection.images).read(handle, { start: position })) {
        await target.write(piece, 0, piece.length, position);
        position += piece.length;
      }
      await target.close();
      expect(status).toMatchObject({ status: { bytes: position, digest: { algorithm: 'sha512', value: (await contentOf(path)).sha512 } } });
    }

    async function bootedAs(handle: Handle, boots: number): Promise<void> {
      await expect.poll(async () => await consoleOf(handle), { timeout: minutes(4), interval: 1000 }).toContain(`boot ${boots} after`);
    }

    /** With nothing of the driver: what the cloud itself has on the console. */
    async function consoleOf(handle: Handle): Promise<string> {
      const { userName, password, projectName } = need(access).password;
      const identity = { methods: ['password'], password: { user: { name: userName, domain: { id: 'default' }, password } } };
      const scope = { project: { name: projectName, domain: { id: 'default' } } };
      const post = async (url: string, body: unknown, token?: string): Promise<Response> =>
        await fetch(url, {
          method: 'POST',
          headers: { 'content-type': 'application/json', ...(token === undefined ? {} : { 'x-auth-token': token }) },
          body: JSON.stringify(body),
        });
      const auth = await post(`${need(access).authUrl}/auth/tokens`, { auth: { identity, scope } });
      const { token } = (await auth.json()) as { token: { catalog: { type: string; endpoints: { url: string }[] }[] } };
      const compute = token.catalog.find(({ type }) => type === 'compute')?.endpoints[0]?.url ?? '';
      const { id } = JSON.parse(handle.value) as { id: string };
      const answer = await post(
        `${compute}/servers/${id}/action`,
        { 'os-getConsoleOutput': {} },
        auth.headers.get('x-subject-token') ?? '',
      );
      return answer.ok ? ((await answer.json()) as { output: string }).output : '';
    }
  });
}

/** What the guest says on its serial console until it is ready; then it is shut down by its power button. */
async function bootHere(path: string): Promise<string> {
  const qemu = spawn(
    'qemu-system-x86_64',
    [
      '-machine',
      'q35,accel=tcg',
      '-m',
      '192',
      '-display',
      'none',
      '-nodefaults',
      '-chardev',
      'stdio,id=serial,mux=on',
      '-serial',
      'chardev:serial',
      '-mon',
      'chardev=serial',
      '-drive',
      `file=${path},if=virtio,format=qcow2`,
    ],
    { stdio: ['pipe', 'pipe', 'ignore'] },
  );
  let text = '';
  qemu.stdout.on('data', (piece: Buffer) => (text += piece.toString()));
  const ended = new Promise<void>((resolve) => qemu.once('exit', () => resolve()));
  try {
    await expect.poll(() => text, { timeout: minutes(4) }).toMatch(/boot \d+ after/);
    // Ctrl-A C leads to the monitor.
    qemu.stdin.write('\u0001csystem_powerdown\n');
    await Promise.race([ended, new Promise((resolve) => setTimeout(resolve, minutes(1)))]);
    return text;
  } finally {
    qemu.kill('SIGKILL');
    await ended;
  }
}
