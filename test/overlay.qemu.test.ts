import { execFile, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { SeparateMachine } from '@virt8ra/agent/testing';
import type { ResourceOf } from '@virt8ra/client';
import { blockStorage, instance, migration, network, nic, securityGroup, subnet } from '@virt8ra/contract';
import { hasPostgres } from '@virt8ra/engine/testing';
import { expect, it } from 'vitest';
import { guestDisk, importImage } from '../demo/images.js';
import { settled } from '../demo/settled.js';
import { images, makeWorkspace, tenant, workspaceName } from '../demo/world.js';
import { startTwoMachines } from './overlay/two-machines.js';
import { root } from './server-apart.js';

const lacks = [
  ...(process.getuid?.() === 0 ? [] : ['the rights of root']),
  ...['/usr/bin/qemu-system-x86_64', '/usr/sbin/nft', '/usr/bin/wg', '/usr/bin/wireguard-go', join(root, '.cache/guest/guest.json')].filter(
    (path) => !existsSync(path),
  ),
  ...((await hasPostgres('debian')) || (await hasPostgres('embedded')) ? [] : ['PostgreSQL']),
];
if (lacks.length > 0) process.stdout.write(`skipped: ${lacks.join(', ')} missing\n`);

const run = promisify(execFile);
const at = (name: string) => ({ tenant, workspace: workspaceName, name });
/** Those of the asker, and of who looks at it, are in another subnet than the server's. */
const addresses = { web: '10.79.1.10', ask: '10.79.2.20', known: '10.79.1.200', stranger: '10.79.1.201', looker: '10.79.2.200' } as const;
const withinSeconds = 180;

/** Why no host takes an instance: this machine's kernel may not filter bridges. */
function refusalOf(status: ResourceOf<typeof instance>['status']): string | undefined {
  const [newest] = status?.conditions ?? [];
  return newest?.message?.includes('cannot filter by security groups') === true ? newest.message : undefined;
}

/** Asks another guest every second, and serves what it said last. */
const asking = (peer: string) => `#!/bin/sh
while :; do
  printf 'GET /cgi-bin/info HTTP/1.0\\r\\n\\r\\n' | timeout 5 nc ${peer} 80 | grep hostname >/www/new && ping -c 1 -W 2 ${peer} && mv /www/new /www/peer.json
  sleep 1
done
`;

/** A neighbour on the network of a machine that is no guest, with several addresses. */
class Neighbour {
  readonly #inside: readonly string[];

  constructor(machine: SeparateMachine, own: readonly string[]) {
    const [namespace = ''] = machine.run('sh', '-c', 'ls /run/netns | grep v8n').trim().split('\n');
    const bridge = namespace.replace('v8n', 'v8b');
    machine.run('ip', 'netns', 'add', 'neighbour');
    machine.run(
      ...['ip', '-n', namespace, 'link', 'add', 'neighbour', 'mtu', '1350', 'type', 'veth'],
      ...['peer', 'name', 'eth0', 'netns', 'neighbour'],
    );
    machine.run('ip', '-n', namespace, 'link', 'set', 'dev', 'neighbour', 'master', bridge, 'up');
    for (const address of own) machine.run('ip', '-n', 'neighbour', 'address', 'add', `${address}/24`, 'dev', 'eth0');
    machine.run('ip', '-n', 'neighbour', 'link', 'set', 'dev', 'eth0', 'mtu', '1350', 'up');
    this.#inside = [...machine.within, 'nsenter', '--net=/run/netns/neighbour'];
  }

  /** What a guest's page says, asked from that address; undefined when nobody answers. */
  async page(target: string, path: string, from: string): Promise<Record<string, unknown> | undefined> {
    const ask = `require('node:http').get({host:'${target}',path:'${path}',localAddress:'${from}',timeout:2000},(r)=>{if(r.statusCode!==200)process.exit(1);r.pipe(process.stdout)}).on('error',()=>process.exit(1)).on('timeout',()=>process.exit(1))`;
    const [command = '', ...words] = [...this.#inside, process.execPath, '-e', ask];
    try {
      return JSON.parse((await run(command, words, { timeout: 20_000 })).stdout) as Record<string, unknown>;
    } catch {
      return undefined;
    }
  }

  /** One connection on which the guest says something every second; answers how often it did so far. */
  listen(target: string): { heard(): number; end(): void } {
    const ask = `require('node:http').get({host:'${target}',path:'/cgi-bin/ticks',localAddress:'${addresses.known}'},(r)=>r.pipe(process.stdout))`;
    const [command = '', ...words] = [...this.#inside, process.execPath, '-e', ask];
    const child = spawn(command, words, { stdio: ['ignore', 'pipe', 'ignore'] });
    let heard = 0;
    child.stdout.on('data', () => {
      heard += 1;
    });
    return { heard: () => heard, end: () => void child.kill('SIGKILL') };
  }
}

it.skipIf(lacks.length > 0)(
  'guests on two machines meet across subnets, one moves and stays so, and a security group holds on both',
  { timeout: 600_000 },
  async ({ skip }) => {
    const stop = new AbortController();
    const waiting = { signal: stop.signal, withinSeconds };
    const world = await startTwoMachines(stop.signal);
    const { client } = world;
    const [north, south] = world.sites;
    try {
      await makeWorkspace(client, waiting);
      await importImage(client, tenant, images.system, await guestDisk(root), waiting);
      await client.put(securityGroup, at('askers'), { spec: { rules: [{ direction: 'ingress' }, { direction: 'egress' }] } });
      await client.put(securityGroup, at('web'), {
        spec: {
          rules: [
            { direction: 'ingress', protocol: 'tcp', ports: { list: [80] }, sourceRef: ['security-groups/askers', addresses.known] },
            { direction: 'ingress', protocol: 'icmp', sourceRef: ['security-groups/askers'] },
            { direction: 'egress' },
          ],
        },
      });
      await client.put(network, at('net'), { spec: { cidr: { ipv4: '10.79.0.0/16' }, skuRef: 'skus/n1k' } });
      await client.put(subnet, { ...at('front'), network: 'net' }, { spec: { cidr: { ipv4: '10.79.1.0/24' } } });
      await client.put(subnet, { ...at('back'), network: 'net' }, { spec: { cidr: { ipv4: '10.79.2.0/24' } } });
      for (const [name, group, peer, site, within] of [
        ['web', 'web', addresses.ask, north, 'front'],
        ['ask', 'askers', addresses.web, south, 'back'],
      ] as const) {
        await client.put(nic, at(name), {
          spec: {
            addresses: [addresses[name]],
            subnetRef: `networks/net/subnets/${within}`,
            securityGroupRefs: [`security-groups/${group}`],
          },
        });
        await client.put(blockStorage, at(name), { spec: { sizeGB: 1, skuRef: 'skus/ld500', sourceImageRef: `images/${images.system}` } });
        await client.put(instance, at(name), {
          extensions: { 'virt8ra.power': 'on' },
          spec: {
            zone: site.name,
            skuRef: 'skus/seca.xs',
            bootVolume: { deviceRef: `block-storages/${name}` },
            primaryNicRef: `nics/${name}`,
            userData: asking(peer),
          },
        });
      }
      for (const name of ['web', 'ask']) {
        const reached = ({ status }: ResourceOf<typeof instance>) =>
          status?.activity?.value === 'running' || refusalOf(status) !== undefined;
        const { status } = await settled(client, instance, at(name), reached, { ...waiting, what: `${name} runs` });
        skip(refusalOf(status) !== undefined, refusalOf(status));
      }
      const together = { ...waiting, what: 'both machines reach each other' };
      const { status } = await settled(
        client,
        network,
        at('net'),
        (seen) => seen.status?.reach?.length === 1 && seen.status.reach[0]?.state === 'reachable',
        together,
      );
      expect(status?.reach?.[0]).toMatchObject({ sites: expect.arrayContaining([north.name, south.name]), mtu: 1420 });

      const pathOf = async () => (await client.paths()).find(({ from, to }) => from.site === north.name && to.site === south.name);
      expect((await pathOf())?.rttMs).toMatchObject({ value: expect.any(Number), source: expect.stringContaining('agent/') });

      const atSouth = new Neighbour(world.machineOf(south.name), [addresses.known, addresses.stranger, addresses.looker]);
      const poll = async (what: () => Promise<unknown>) => await expect.poll(what, { timeout: 60_000, interval: 500 }).toBe(true);

      // Its kernel tells of its memory, and its host counts its disk and NIC.
      const usageOf = async (name: string) =>
        (await client.instanceUsage({ tenant, workspace: workspaceName })).find((usage) => usage.instance === name);
      await poll(async () => ((await usageOf('ask'))?.guestMemoryUsedBytes ?? 0) > 2 ** 20);
      expect(await usageOf('ask')).toMatchObject({
        guestMemoryTotalBytes: expect.toSatisfy((bytes: number) => bytes > 2 ** 26 && bytes < 2 ** 40),
        disks: [{ blockStorage: 'ask', readPerSecond: expect.any(Number), writesPerSecond: expect.any(Number) }],
        nics: [{ nic: 'ask', inPerSecond: expect.any(Number) }],
      });

      // Each guest heard the other by its own address, over the tunnel and from subnet to subnet.
      const askerHeard = async () => (await atSouth.page(addresses.ask, '/peer.json', addresses.looker)) ?? {};
      await poll(async () => (await askerHeard())['hostname'] === 'web');
      await poll(async () => (await atSouth.page(addresses.web, '/peer.json', addresses.known))?.['hostname'] === 'ask');
      expect(await atSouth.page(addresses.web, '/cgi-bin/info', addresses.stranger)).toBeUndefined();
      const before = await atSouth.page(addresses.web, '/cgi-bin/info', addresses.known);
      expect(before).toMatchObject({ hostname: 'web', addresses: expect.arrayContaining([`${addresses.web}/24`]) });

      const connection = atSouth.listen(addresses.web);
      await poll(async () => connection.heard() > 1);
      await client.put(migration, at('away'), { spec: { instanceRef: 'instances/web', toSite: south.name, mode: 'live' } });
      await settled(client, migration, at('away'), (seen) => seen.status?.phase === 'done', { ...waiting, what: 'the move is done' });
      const heard = connection.heard();
      // What the move has carried is known of the path.
      expect((await pathOf())?.bytesPerSecond).toMatchObject({ value: expect.any(Number), source: 'transfer' });
      await poll(async () => connection.heard() > heard + 1);
      const after = await atSouth.page(addresses.web, '/cgi-bin/info', addresses.known);
      expect(after).toMatchObject({ bootId: before?.['bootId'], boots: before?.['boots'], addresses: before?.['addresses'] });
      expect(await atSouth.page(addresses.web, '/cgi-bin/info', addresses.stranger)).toBeUndefined();
      connection.end();

      // Back over the tunnel, warm: the group holds for who is on the other machine now.
      await client.put(migration, at('back'), { spec: { instanceRef: 'instances/ask', toSite: north.name, mode: 'warm' } });
      await settled(client, migration, at('back'), (seen) => seen.status?.phase === 'done', { ...waiting, what: 'the asker is over' });
      // The network had left that machine with the guest, and came back with this one.
      const atNorth = new Neighbour(world.machineOf(north.name), ['10.79.1.211', '10.79.2.210']);
      const counter = Number((await atSouth.page(addresses.web, '/cgi-bin/info', addresses.known))?.['counter']);
      await poll(async () => Number((await atNorth.page(addresses.ask, '/peer.json', '10.79.2.210'))?.['counter']) > counter);
      expect(await atNorth.page(addresses.web, '/cgi-bin/info', '10.79.1.211')).toBeUndefined();
      expect(await atSouth.page(addresses.ask, '/peer.json', addresses.looker)).toMatchObject({ hostname: 'web' });
    } catch (error) {
      process.stdout.write(world.logs());
      throw error;
    } finally {
      stop.abort();
      await world.destroy();
    }
  },
);
