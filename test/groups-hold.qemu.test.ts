import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { ResourceOf } from '@virt8ra/client';
import { blockStorage, instance, migration, network, nic, securityGroup, subnet } from '@virt8ra/contract';
import { hasPostgres } from '@virt8ra/engine/testing';
import { describe, expect, it } from 'vitest';
import { guestDisk, importImage } from '../demo/images.js';
import { gone, settled } from '../demo/settled.js';
import { images, makeWorkspace, tenant, workspaceName } from '../demo/world.js';
import { type Plane, startPlane } from './tour-kills/plane.js';

const root = fileURLToPath(new URL('..', import.meta.url));
const lacks = [
  ...(process.getuid?.() === 0 ? [] : ['the rights of root']),
  ...['/usr/bin/qemu-system-x86_64', '/usr/sbin/nft', '/usr/sbin/dnsmasq', join(root, '.cache/guest/guest.json')].filter(
    (path) => !existsSync(path),
  ),
  ...((await hasPostgres('debian')) || (await hasPostgres('embedded')) ? [] : ['PostgreSQL']),
];
if (lacks.length > 0) process.stdout.write(`skipped: ${lacks.join(', ')} missing\n`);

const at = (name: string) => ({ tenant, workspace: workspaceName, name });
const [known, stranger] = ['10.77.1.200', '10.77.1.201'];
const withinSeconds = 90;

/** A neighbour of the guest on its network, with both addresses, in a network namespace of its own. */
class Neighbour {
  readonly #name = `v8x-${process.pid}`;

  constructor(namespace: string) {
    const [inside, outside] = [`v8x${process.pid}a`, `v8x${process.pid}b`];
    const links = JSON.parse(run('ip', '-n', namespace, '-j', 'link', 'show', 'type', 'bridge')) as readonly { ifname: string }[];
    run('ip', 'netns', 'add', this.#name);
    run('ip', 'link', 'add', outside, 'type', 'veth', 'peer', 'name', inside, 'netns', this.#name);
    run('ip', 'link', 'set', 'dev', outside, 'netns', namespace);
    run('ip', '-n', namespace, 'link', 'set', 'dev', outside, 'master', links[0]?.ifname ?? '', 'up');
    for (const address of [known, stranger]) run('ip', '-n', this.#name, 'address', 'add', `${address}/24`, 'dev', inside);
    run('ip', '-n', this.#name, 'link', 'set', 'dev', inside, 'up');
  }

  /** Whether the guest's page was answered, asked from that address. */
  reaches(target: string, from: string): boolean {
    const ask = `require('node:http').get({host:'${target}',localAddress:'${from}',timeout:1500},(r)=>process.exit(r.statusCode===200?0:1)).on('error',()=>process.exit(1)).on('timeout',()=>process.exit(1))`;
    return spawnSync('nsenter', [`--net=/run/netns/${this.#name}`, process.execPath, '-e', ask], { timeout: 20_000 }).status === 0;
  }

  remove(): void {
    spawnSync('ip', ['netns', 'delete', this.#name]);
  }
}

/** Why no host takes it: this machine's kernel may not filter bridges. */
function refusalOf(status: ResourceOf<typeof instance>['status']): string | undefined {
  const [newest] = status?.conditions ?? [];
  return newest?.message?.includes('cannot filter by security groups') === true ? newest.message : undefined;
}

function run(command: string, ...words: readonly string[]): string {
  return execFileSync(command, words, { encoding: 'utf8' });
}

function namespaceOf(plane: Plane, site: string): string {
  const noted = JSON.parse(readFileSync(join(plane.agentOf(site).state, 'networks.json'), 'utf8')) as Record<
    string,
    { namespace?: string }
  >;
  const [first] = Object.values(noted);
  if (first?.namespace === undefined) throw new Error(`the agent at ${site} has noted no network`);
  return first.namespace;
}

describe.skipIf(lacks.length > 0)('a security group on real hosts', () => {
  it('holds before and after a warm and a live move, and a changed rule holds once the group is active again', async ({ skip }) => {
    const stop = new AbortController();
    const waiting = { signal: stop.signal, withinSeconds };
    const plane = await startPlane(stop.signal);
    const { client } = plane;
    const [from, to] = plane.sites;
    let neighbour: Neighbour | undefined;
    try {
      await makeWorkspace(client, waiting);
      await importImage(client, tenant, images.system, await guestDisk(root), waiting);
      const allow = async (address: string) =>
        await client.put(securityGroup, at('web'), {
          spec: {
            rules: [{ direction: 'ingress', protocol: 'tcp', ports: { list: [80] }, sourceRef: [address] }, { direction: 'egress' }],
          },
        });
      await allow(known);
      await client.put(network, at('net'), { spec: { cidr: { ipv4: '10.77.0.0/16' }, skuRef: 'skus/n1k' } });
      await client.put(subnet, { ...at('all'), network: 'net' }, { spec: { cidr: { ipv4: '10.77.1.0/24' } } });
      await client.put(nic, at('web'), {
        spec: { addresses: ['10.77.1.10'], subnetRef: 'networks/net/subnets/all', securityGroupRefs: ['security-groups/web'] },
      });
      await client.put(blockStorage, at('web'), { spec: { sizeGB: 1, skuRef: 'skus/ld500', sourceImageRef: `images/${images.system}` } });
      await client.put(instance, at('web'), {
        extensions: { 'virt8ra.power': 'on' },
        spec: { zone: from.name, skuRef: 'skus/seca.xs', bootVolume: { deviceRef: 'block-storages/web' }, primaryNicRef: 'nics/web' },
      });
      const running = { ...waiting, what: 'the guest runs' };
      const { status: placed } = await settled(
        client,
        instance,
        at('web'),
        ({ status }) => status?.activity?.value === 'running' || refusalOf(status) !== undefined,
        running,
      );
      skip(refusalOf(placed) !== undefined, refusalOf(placed));
      const asked = new Neighbour(namespaceOf(plane, from.name));
      neighbour = asked;
      const answers = async (address: string) =>
        await expect.poll(() => asked.reaches('10.77.1.10', address), { timeout: 60_000, interval: 200 }).toBe(true);

      await answers(known);
      expect(asked.reaches('10.77.1.10', stranger)).toBe(false);

      await client.put(migration, at('away'), { spec: { instanceRef: 'instances/web', toSite: to.name, mode: 'warm' } });
      const over = { ...waiting, what: 'the move is done' };
      await settled(client, migration, at('away'), ({ status }) => status?.phase === 'done', over);
      await answers(known);
      expect(asked.reaches('10.77.1.10', stranger)).toBe(false);

      const begin = performance.now();
      await allow(stranger);
      const told = { ...waiting, what: 'every host has the changed rule' };
      await settled(client, securityGroup, at('web'), ({ status }) => status?.state === 'active', told);
      process.stdout.write(`a changed rule holds after ${(performance.now() - begin).toFixed(0)} ms\n`);
      expect(asked.reaches('10.77.1.10', known)).toBe(false);
      expect(asked.reaches('10.77.1.10', stranger)).toBe(true);

      await client.put(migration, at('back'), { spec: { instanceRef: 'instances/web', toSite: from.name, mode: 'live' } });
      await settled(client, migration, at('back'), ({ status }) => status?.phase === 'done', over);
      await answers(stranger);
      expect(asked.reaches('10.77.1.10', known)).toBe(false);

      await client.delete(instance, at('web'));
      await gone(client, instance, at('web'), waiting);
      for (const kind of [nic, securityGroup] as const) {
        await client.delete(kind, at('web'));
        await gone(client, kind, at('web'), waiting);
      }
    } catch (error) {
      process.stdout.write(plane.logs());
      throw error;
    } finally {
      neighbour?.remove();
      stop.abort();
      await plane.destroy();
    }
  });
});
