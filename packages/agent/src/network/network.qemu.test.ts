import { execFileSync } from 'node:child_process';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createConnection } from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { InstanceRecord } from '../instances/instance-store.js';
import { hasCommand } from '../system/run-command.js';
import { AgentProcess, testFolder } from '../testing/agent-process.js';
import { imageVolume, smallInstance } from '../testing/desired-objects.js';
import { FakeControlPlane } from '../testing/fake-control-plane.js';
import { tinyGuestBytes, tinyGuestImage } from '../testing/tiny-guest.js';
import { probeNetworking } from './probe.js';
import { listLinks } from './taps.js';

const qemu = (await hasCommand('qemu-system-x86_64')) && (await hasCommand('qemu-img'));
const bridging =
  process.getuid?.() === 0 ? await probeNetworking('test') : { usable: false, reason: 'it needs root', features: [] as readonly string[] };
if (!qemu) process.stderr.write('skipped: qemu-system-x86_64 and qemu-img are not installed\n');
else if (!bridging.usable) process.stderr.write(`bridge tests skipped: ${bridging.reason}\n`);

const patience = { timeout: 60_000, interval: 100 };
const hostLinkOf = (namespace: string) => namespace.replace('v8n', 'v8h');

describe.skipIf(!qemu)('networking of guests', () => {
  let plane: FakeControlPlane;
  let agents: AgentProcess[];
  const nic = {
    key: 'nic1',
    networkKey: 'n1',
    mac: '52:54:00:12:34:56',
    addresses: ['10.213.7.5/24'],
    gateway4: '10.213.7.1',
    nameservers: [],
  };
  const network = { key: 'n1', vni: 7001, mtu: 1400, gateways: ['10.213.7.1/24'] };
  const deploy = (host: string) => {
    const image = plane.addArtifact(tinyGuestImage());
    const instance = smallInstance('i1', 'v1', { epoch: 1, holder: host }, { instance: `res_${host}`, nics: [nic], exposedPorts: [80] });
    plane.want(host, { networks: [network], volumes: [imageVolume('v1', image, tinyGuestBytes)], instances: [instance] });
  };
  const running = async (host: string) =>
    await plane.until(`${host}'s guest runs`, () => {
      const seen = plane.view(host).instances.get('i1');
      return seen?.state === 'running' ? seen : undefined;
    });
  const add = async (host: string, mode: string) => {
    const agent = new AgentProcess(plane, host, await testFolder(), ['--network', mode]);
    agents.push(agent);
    deploy(host);
    agent.start();
    return agent;
  };

  beforeEach(async () => {
    plane = await FakeControlPlane.start();
    agents = [];
  });
  afterEach(async (test) => {
    if (test.task.result?.state === 'fail') for (const agent of agents) process.stderr.write(`--- ${agent.host}\n${agent.log}\n`);
    for (const { host } of agents) plane.want(host, { networks: [], volumes: [], instances: [] });
    for (const { host } of agents) await plane.until('the network is gone', () => plane.view(host).networks.size === 0).catch(() => {});
    for (const agent of agents) await agent.destroy();
    await plane.stop();
  });

  it.skipIf(!bridging.usable)('joins guests of two agents of one machine in one namespace, which the last one removes', async () => {
    await add('alpha', 'bridge');
    await running('alpha');
    await add('beta', 'bridge');
    const guest = await running('beta');
    const bridge = plane.view('alpha').networks.get('n1')?.bridge ?? '';
    const namespace = plane.view('alpha').networks.get('n1')?.namespace ?? '';
    expect(plane.view('beta').networks.get('n1')).toMatchObject({ state: 'ready', mode: 'bridge', bridge, namespace });
    expect((await listLinks(namespace)).find((link) => link.ifname === bridge)).toMatchObject({ mtu: 1400, ifalias: 'virt8ra:n1' });
    expect((await listLinks(namespace)).filter((link) => link.master === bridge)).toHaveLength(2);
    expect(execFileSync('ip', ['-n', namespace, 'address', 'show', 'dev', bridge], { encoding: 'utf8' })).toContain('inet 10.213.7.1/24');
    const inside = plane.view('beta').networks.get('n1')?.hostSide?.[0];
    expect(guest.access).toEqual([{ port: 80, address: inside, hostPort: expect.any(Number) }]);
    expect(plane.view('alpha').instances.get('i1')?.access[0]?.hostPort).not.toBe(guest.access[0]?.hostPort);

    plane.want('alpha', { networks: [], volumes: [], instances: [] });
    await plane.until('alpha has left', () => plane.view('alpha').networks.size === 0);
    expect((await listLinks(namespace)).filter((link) => link.master === bridge)).toHaveLength(1);
    plane.want('beta', { networks: [], volumes: [], instances: [] });
    await plane.until('beta has left', () => plane.view('beta').networks.size === 0);
    expect(execFileSync('ip', ['netns', 'list'], { encoding: 'utf8' })).not.toContain(namespace);
    expect((await listLinks()).some((link) => link.ifalias?.endsWith(':nic1') === true || link.ifname === hostLinkOf(namespace))).toBe(
      false,
    );
  });

  it.skipIf(!bridging.usable)('takes away the tap of a guest that died while no agent looked', async () => {
    const agent = await add('alpha', 'bridge');
    const { pid } = await running('alpha');
    const namespace = plane.view('alpha').networks.get('n1')?.namespace ?? '';
    const taps = async () => (await listLinks(namespace)).filter((link) => link.ifalias?.endsWith(':nic1') === true);
    expect(await taps()).toHaveLength(1);
    await agent.stop('SIGKILL');
    plane.want('alpha', { instances: [] });
    process.kill(pid ?? 0, 'SIGKILL');
    plane.view('alpha').instances.clear();
    agent.start();
    await plane.until(
      'the instance is gone',
      () => plane.view('alpha').generation === plane.desired('alpha').generation && plane.view('alpha').instances.size === 0,
    );
    expect(await taps()).toEqual([]);
  });

  it.skipIf(!bridging.usable)('has its networks and filters again after a reboot while cut off, before the guest runs', async () => {
    const agent = await add('alpha', 'bridge');
    const { pid } = await running('alpha');
    const filtered = bridging.features.includes('filters');
    const { instances } = plane.desired('alpha');
    if (filtered) {
      const nics = [{ ...nic, filters: ['web'] }];
      const rules = [{ direction: 'ingress' as const, protocol: 'tcp' as const, ports: [{ from: 80, to: 80 }] }];
      plane.want('alpha', {
        filters: [{ key: 'web', networkKey: 'n1', rules, members: [] }],
        instances: instances.map((one) => ({ ...one, nics })),
      });
      await plane.until('the filter holds', () => plane.view('alpha').instances.get('i1')?.nics?.[0]?.filters?.includes('web'));
    }
    const { namespace = '' } = plane.view('alpha').networks.get('n1') ?? {};
    plane.away = true;
    plane.cut('alpha');
    await agent.stop('SIGKILL');
    process.kill(pid ?? 0, 'SIGKILL');
    // What a reboot takes away: processes, namespaces, links, /run; and the boot has another id.
    execFileSync('ip', ['netns', 'delete', namespace]);
    execFileSync('ip', ['link', 'delete', 'dev', hostLinkOf(namespace)]);
    rmSync(`/run/virt8ra/networks/${namespace}`, { recursive: true });
    rmSync(join(agent.folder, 'alpha-run'), { recursive: true });
    const file = join(agent.state, 'instances/i1/instance.json');
    const record = () => JSON.parse(readFileSync(file, 'utf8')) as InstanceRecord;
    writeFileSync(file, JSON.stringify({ ...record(), launch: { ...record().launch, bootId: 'before' } }));
    agent.start();
    const again = async () =>
      await expect.poll(() => record().startedAt !== undefined && record().launch?.pid !== pid, patience).toBe(true);
    await expect.poll(() => record().lastEnd?.how, patience).toBe('host');
    await again();
    expect(
      (await listLinks(namespace)).filter((link) => link.ifalias?.endsWith(':nic1') === true && link.master !== undefined),
    ).toHaveLength(1);
    if (filtered)
      expect(execFileSync('ip', ['netns', 'exec', namespace, 'nft', 'list', 'ruleset'], { encoding: 'utf8' })).toContain(
        'tcp dport 80 return',
      );
    expect(agent.log).toContain('the link is down');
    plane.away = false;
    plane.view('alpha').instances.clear();
    await running('alpha');
  });

  it('opens a port of the host for each exposed port where there is no bridge', async () => {
    await add('alpha', 'user');
    const { access } = await running('alpha');
    expect(access).toMatchObject([{ port: 80, address: '127.0.0.1', hostPort: expect.any(Number) }]);
    const connected = await new Promise((resolve, reject) => {
      const socket = createConnection({ host: '127.0.0.1', port: access[0]?.hostPort ?? 0 }, () => {
        socket.destroy();
        resolve(true);
      });
      socket.once('error', reject);
    });
    expect(connected).toBe(true);
    expect(plane.view('alpha').networks.get('n1')).toMatchObject({ state: 'ready', mode: 'user' });
  });
});
