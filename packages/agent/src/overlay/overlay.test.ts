import { execFile, spawn } from 'node:child_process';
import { createHash, X509Certificate } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { type DesiredOverlay, networkMtu, type OverlayFacts, tunnelMtu } from '@virt8ra/contract';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { interfaceName } from '../network/interface-name.js';
import { probeNetworking } from '../network/probe.js';
import { AgentProcess, testFolder } from '../testing/agent-process.js';
import { FakeControlPlane } from '../testing/fake-control-plane.js';
import { type SeparateMachine, SeparateMachines } from '../testing/separate-machines.js';
import { chooseTunnelBackend } from './tunnel-backend.js';
import { vxlanUdpPort } from './vxlan-port.js';

const bridging = process.getuid?.() === 0 ? await probeNetworking('overlay-test') : { usable: false, reason: 'it needs root' };
const backend = bridging.usable
  ? await chooseTunnelBackend('overlay-test', 'auto', { mode: 'bridge' })
  : { mode: 'none', reason: bridging.reason };
if (backend.mode === 'none') process.stderr.write(`skipped: no overlay here: ${backend.reason}\n`);

const run = promisify(execFile);
const vni = 7301;
const hosts = ['alpha', 'beta', 'gamma'] as const;
type Host = (typeof hosts)[number];
const addressOf: Readonly<Record<Host, string>> = { alpha: 'fd00:7301::a', beta: 'fd00:7301::b', gamma: 'fd00:7301::c' };

/** Three machines with real agents, real tunnels, and a namespace for each guest. */
describe.skipIf(backend.mode === 'none')('the overlay of three machines', { timeout: 120_000 }, () => {
  let plane: FakeControlPlane;
  let wires: SeparateMachines;
  const machines = new Map<Host, SeparateMachine>();
  const agents = new Map<Host, AgentProcess>();
  /** Where each is, and how its namespace is called there. */
  const guests = new Map<string, { readonly on: Host; readonly namespace: string }>();

  const factsOf = (host: Host): OverlayFacts | undefined => plane.view(host).inventory?.inventory.overlay;
  const machine = (host: Host): SeparateMachine => machines.get(host) as SeparateMachine;
  const agent = (host: Host): AgentProcess => agents.get(host) as AgentProcess;
  const guestRun = (guest: string, ...words: readonly string[]): readonly string[] => {
    const { on = 'alpha', namespace = '' } = guests.get(guest) ?? {};
    return [...machine(on).within, 'nsenter', `--net=/run/netns/${namespace}`, ...words];
  };
  const inGuest = async (guest: string, ...words: readonly string[]) => {
    const [command = '', ...args] = guestRun(guest, ...words);
    return await run(command, args, { timeout: 30_000 });
  };
  const networkOf = (host: Host, key = 'n1') => plane.view(host).networks.get(key);
  /** Runs a command where the host's bridge is. */
  const atBridgeOf = (key: string, host: Host, ...words: readonly string[]): string => {
    const namespace = networkOf(host, key)?.namespace;
    return machine(host).run(...(namespace === undefined ? [] : ['nsenter', `--net=/run/netns/${namespace}`]), ...words);
  };
  const atBridge = (host: Host, ...words: readonly string[]): string => atBridgeOf('n1', host, ...words);
  const addGuest = (guest: string, on: Host, cidr: string, key = 'n1') => {
    const { bridge = '', namespace } = networkOf(on, key) ?? {};
    const place = namespace === undefined ? { bridge } : { bridge, namespace };
    guests.set(guest, { on, namespace: wires.addGuest(machine(on), place, guest, cidr, networkMtu) });
  };
  const tunnelProcesses = (host: Host): string[] => machine(host).run('pidof', 'wireguard-go').trim().split(' ').filter(Boolean);
  const tunnel = (from: Host, to: Host) => plane.view(from).overlay?.peers.find((peer) => peer.host === to);
  const until = async (what: string, found: () => unknown) => await plane.until(what, () => found() || undefined, 60_000);
  /** Neighbours that were just asked for in vain are asked for again after seconds only. */
  const soon = { timeout: 15_000, interval: 100 };
  const pings = async (from: string, address: string, bytes: number, extra: readonly string[] = []) =>
    await inGuest(from, 'ping', '-c', '1', '-W', '2', '-M', 'do', '-s', String(bytes - 28), ...extra, address).then(
      () => true,
      () => false,
    );

  const controlPlane = () => new X509Certificate(plane.authority.certificate).fingerprint256;
  const tunnelNamespace = (host: Host): string => {
    return interfaceName('v8o', controlPlane(), createHash('sha256').update(agent(host).state).digest('hex').slice(0, 10));
  };

  /** What the server would tell each of them; `accepted` names a host whose next key all have taken. */
  const plan = (members: readonly Host[], change: { readonly rotate?: Host; readonly accepted?: Host } = {}) => {
    for (const host of members) {
      const others = members.filter((other) => other !== host);
      const next = factsOf(host)?.nextPublicKey;
      const overlay: DesiredOverlay = {
        address: addressOf[host],
        peers: others.map((other) => {
          const { publicKey, nextPublicKey, endpoints = [] } = factsOf(other) ?? {};
          return {
            host: other,
            address: addressOf[other],
            publicKeys: [publicKey, nextPublicKey].filter((key) => key !== undefined),
            endpoints,
          };
        }),
        networks: plane
          .desired(host)
          .networks.map((network) => ({
            vni: network.vni,
            mtu: network.mtu,
            peers: others
              .filter((other) => plane.desired(other).networks.some((each) => each.vni === network.vni))
              .map((other) => addressOf[other]),
          }))
          .filter(({ peers }) => peers.length > 0),
        rotation: change.rotate === host ? 1 : (factsOf(host)?.rotation ?? 0),
        ...(change.accepted === host && next !== undefined ? { acceptedKey: next } : {}),
      };
      plane.want(host, { overlay });
    }
  };

  beforeAll(async () => {
    wires = new SeparateMachines();
    plane = await FakeControlPlane.start(wires.address);
    for (const host of hosts) {
      const place = await wires.add();
      machines.set(host, place);
      const process = new AgentProcess(plane, host, await testFolder(), ['--network', 'bridge'], place.within);
      agents.set(host, process);
      plane.want(host, { networks: [{ key: 'n1', vni, mtu: networkMtu, gateways: ['10.213.31.1/24'] }] });
      process.start();
    }
    for (const [index, host] of hosts.entries()) {
      await until(
        `${host} has its bridge and says where it is`,
        () => plane.view(host).networks.get('n1')?.state === 'ready' && factsOf(host),
      );
      addGuest(host, host, `10.213.31.${10 + index}/24`);
    }
  }, 120_000);
  afterEach(({ task }) => {
    if (task.result?.state === 'fail') for (const { host, log } of agents.values()) process.stderr.write(`--- ${host}\n${log}\n`);
  });
  afterAll(async () => {
    for (const each of agents.values()) await each.destroy();
    await plane?.stop();
    await wires?.destroy();
  });

  it('says of each host how it can be reached, with a key that nobody else reads', () => {
    for (const host of hosts) {
      const facts = factsOf(host);
      expect(facts).toMatchObject({ mode: backend.mode, rotation: 0 });
      expect(facts?.endpoints).toContain(`${machine(host).address}:8482`);
      const file = join(agent(host).state, 'overlay', 'private-key');
      expect(statSync(file).mode & 0o777).toBe(0o600);
      const secret = readFileSync(file, 'utf8').trim();
      for (const told of [plane.view(host).inventory, plane.view(host).overlay, agent(host).log])
        expect(JSON.stringify(told ?? '')).not.toContain(secret);
    }
    expect(new Set(hosts.map((host) => factsOf(host)?.segment)).size).toBe(3);
  });

  it('carries whole packets between guests of different machines, and is measured', async () => {
    plan(['alpha', 'beta']);
    await until(
      'both reach each other',
      () => tunnel('alpha', 'beta')?.state === 'reachable' && tunnel('beta', 'alpha')?.state === 'reachable',
    );
    expect(tunnel('alpha', 'beta')).toMatchObject({ mtu: tunnelMtu, rttMs: expect.any(Number), handshakeAt: expect.any(String) });
    expect(plane.view('alpha').overlay?.failed).toEqual([]);
    await expect.poll(() => pings('alpha', '10.213.31.11', networkMtu), soon).toBe(true);
    expect(await pings('alpha', '10.213.31.11', networkMtu + 1)).toBe(false);
    expect(await pings('alpha', '10.213.31.12', 100)).toBe(false);
  });

  it('has guests of different subnets meet, each by the gateway of its own machine', async () => {
    const subnets = { gateways: ['10.213.32.1/24', 'fd00:7302:1::1/64', 'fd00:7302:2::1/64'] };
    const members = [
      { name: 'near', on: 'alpha', four: '10.213.31.40', six: 'fd00:7302:1::40', gateways: ['10.213.31.1', 'fd00:7302:1::1'] },
      { name: 'far', on: 'beta', four: '10.213.32.40', six: 'fd00:7302:2::40', gateways: ['10.213.32.1', 'fd00:7302:2::1'] },
    ] as const;
    const neighbours = members.flatMap(({ name, on, four, six, gateways }) => {
      addGuest(name, on, `${four}/24`);
      const inside = (...words: readonly string[]) => machine(on).run('ip', '-n', guests.get(name)?.namespace ?? '', ...words);
      inside('address', 'add', `${six}/64`, 'dev', 'eth0', 'nodad');
      for (const gateway of gateways) inside(gateway.includes(':') ? '-6' : '-4', 'route', 'add', 'default', 'via', gateway);
      const mac = /link\/ether (\S+)/.exec(inside('link', 'show', 'dev', 'eth0'))?.[1] ?? '';
      return [four, six].map((address) => ({ address, mac }));
    });
    const [network] = plane.desired('alpha').networks;
    const gateways = [...(network?.gateways ?? []), ...subnets.gateways];
    for (const host of ['alpha', 'beta'] as const)
      plane.want(host, { networks: [{ key: 'n1', vni, mtu: networkMtu, gateways, neighbours }] });
    await expect.poll(() => pings('near', '10.213.32.40', networkMtu), { timeout: 30_000 }).toBe(true);
    await expect.poll(() => pings('far', '10.213.31.40', networkMtu), soon).toBe(true);
    const sixth = async () =>
      await inGuest('near', 'ping', '-6', '-c', '1', '-W', '2', '-M', 'do', '-s', String(networkMtu - 48), 'fd00:7302:2::40').then(
        () => true,
        () => false,
      );
    await expect.poll(sixth, soon).toBe(true);
    // No frame under the gateway's MAC came over; it stays each machine's own.
    const { bridge = '' } = networkOf('beta') ?? {};
    const mac = /link\/ether (\S+)/.exec(atBridge('beta', 'ip', 'link', 'show', 'dev', bridge))?.[1] ?? 'none';
    const vxlan = /v8x[0-9a-f]+/.exec(atBridge('beta', 'ip', '-br', 'link', 'show', 'type', 'vxlan'))?.[0] ?? 'none';
    expect(atBridge('beta', 'bridge', 'fdb', 'show', 'dev', vxlan)).not.toContain(mac);
    // What somebody takes away is made again.
    atBridge('alpha', 'ip', 'neigh', 'delete', '10.213.32.40', 'dev', networkOf('alpha')?.bridge ?? '');
    await until('it is mended', () => networkOf('alpha')?.healed?.what.includes('neighbours'));
    await expect.poll(() => pings('near', '10.213.32.40', 100), soon).toBe(true);
  });

  it('has every guest served by the gateway of its own machine', async () => {
    await expect.poll(() => pings('alpha', '10.213.31.1', 100), soon).toBe(true);
    await inGuest('alpha', 'ip', 'neigh', 'flush', 'all');
    const { bridge = '' } = networkOf('alpha') ?? {};
    atBridge('alpha', 'ip', 'address', 'delete', '10.213.31.1/24', 'dev', bridge);
    // That of beta is one segment away and must not step in.
    expect(await pings('alpha', '10.213.31.1', 100)).toBe(false);
    atBridge('alpha', 'ip', 'address', 'add', '10.213.31.1/24', 'dev', bridge);
  });

  it('sends nothing of a network in the clear and takes nothing from outside of the tunnels', async () => {
    const inside = machine('beta').run;
    const clear =
      'table inet clear { chain out { type filter hook output priority 0; oifname "eth0" meta l4proto udp udp sport != 8482 counter; }; }';
    const tunnelled = 'table inet tunnelled { chain out { type filter hook output priority 0; oifname "eth0" udp sport 8482 counter; }; }';
    for (const table of [clear, tunnelled]) inside('nft', table);
    await expect.poll(() => pings('beta', '10.213.31.10', networkMtu), soon).toBe(true);
    expect(inside('nft', 'list', 'table', 'inet', 'clear')).toContain('counter packets 0 bytes 0');
    expect(inside('nft', 'list', 'table', 'inet', 'tunnelled')).toMatch(/counter packets [1-9]/);
    for (const table of ['clear', 'tunnelled']) inside('nft', 'delete', 'table', 'inet', table);
    // Of UDP the machine itself listens for nothing but the tunnel's own port.
    const ports = ['udp', 'udp6'].flatMap((table) => inside('cat', `/proc/net/${table}`).split('\n').slice(1).filter(Boolean));
    expect(new Set(ports.map((line) => Number.parseInt(/:([0-9A-F]{4}) /.exec(line)?.[1] ?? '', 16)))).toEqual(new Set([8482]));
  });

  it('takes in a machine that comes later', async () => {
    plan(hosts);
    await until('all reach all', () =>
      hosts.every((one) => hosts.every((other) => one === other || tunnel(one, other)?.state === 'reachable')),
    );
    await expect.poll(() => pings('gamma', '10.213.31.10', networkMtu), soon).toBe(true);
    await expect.poll(() => pings('beta', '10.213.31.12', networkMtu), soon).toBe(true);
  });

  it('lets a machine speak in the networks that it shares, and in no other of one prefix', async () => {
    const other = vni + 1;
    for (const host of ['alpha', 'beta'] as const)
      plane.want(host, { networks: [...plane.desired(host).networks, { key: 'n2', vni: other, mtu: networkMtu, gateways: [] }] });
    await until('both have it', () => ['alpha', 'beta'].every((host) => plane.view(host).networks.get('n2')?.state === 'ready'));
    addGuest('alpha2', 'alpha', '10.213.31.11/24', 'n2');
    addGuest('beta2', 'beta', '10.213.31.10/24', 'n2');
    plan(hosts);
    // The same two addresses are there in both networks, each on the other machine.
    await expect.poll(() => pings('alpha2', '10.213.31.10', networkMtu), { timeout: 30_000 }).toBe(true);
    atBridgeOf('n2', 'beta', 'ip', 'link', 'set', 'dev', 'gbeta2', 'down');
    expect(await pings('alpha2', '10.213.31.10', 100)).toBe(false);
    await expect.poll(() => pings('beta', '10.213.31.10', 100), soon).toBe(true);

    const tunnels = (host: Host, script: string) =>
      machine(host).run('nsenter', `--net=/run/netns/${tunnelNamespace(host)}`, 'sh', '-c', script);
    const words = `id ${other} local ${addressOf.gamma} remote ${addressOf.alpha} dstport ${vxlanUdpPort(controlPlane())} udp6zerocsumtx udp6zerocsumrx`;
    const intrude = () =>
      tunnels(
        'gamma',
        `nft delete table ip6 v8o; ip link delete intruder; (ip link add intruder mtu 1350 type vxlan ${words}
ip address add 10.213.31.77/24 dev intruder; ip link set intruder up; ping -c 1 -W 2 10.213.31.11) >&2 && echo answered || echo silent`,
      ).trim();
    expect(intrude()).toBe('silent');
    await expect
      .poll(
        () => {
          tunnels('alpha', 'nft delete table ip6 v8o || true');
          return intrude();
        },
        { timeout: 30_000 },
      )
      .toBe('answered');
    tunnels('gamma', 'ip link delete intruder');
    for (const [name, host] of [
      ['alpha2', 'alpha'],
      ['beta2', 'beta'],
    ] as const) {
      machine(host).run('ip', 'netns', 'delete', guests.get(name)?.namespace ?? '');
      plane.want(host, { networks: plane.desired(host).networks.filter(({ key }) => key !== 'n2') });
    }
    plan(hosts);
  });

  it('follows an address that moves to another machine as soon as it speaks there', async () => {
    await expect.poll(() => pings('alpha', '10.213.31.12', 100), soon).toBe(true);
    machine('gamma').run('ip', 'netns', 'delete', guests.get('gamma')?.namespace ?? '');
    addGuest('gamma', 'beta', '10.213.31.12/24');
    // Its first packet is what QEMU's announcement is for a guest.
    await expect.poll(() => pings('gamma', '10.213.31.11', 100), soon).toBe(true);
    await expect.poll(() => pings('gamma', '10.213.31.10', 100), soon).toBe(true);
    await expect.poll(() => pings('alpha', '10.213.31.12', networkMtu), soon).toBe(true);
  });

  it('changes a key while packets flow, with a gap of seconds at most', async () => {
    const before = factsOf('alpha')?.publicKey;
    plan(hosts, { rotate: 'alpha' });
    await until('alpha has a next key', () => factsOf('alpha')?.nextPublicKey);
    const next = factsOf('alpha')?.nextPublicKey ?? '';
    plan(hosts);
    await until('both peers have taken it', () =>
      ['beta', 'gamma'].every((host) => tunnel(host as Host, 'alpha')?.publicKeys.includes(next)),
    );
    expect(factsOf('alpha')?.publicKey).toBe(before);
    const [command = '', ...args] = guestRun('alpha', 'ping', '-i', '0.1', '-W', '1', '-w', '8', '10.213.31.11');
    const stream = spawn(command, args);
    let output = '';
    stream.stdout.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
    const ended = new Promise((resolve) => stream.once('close', resolve));
    plan(hosts, { accepted: 'alpha' });
    await until('alpha uses it', () => factsOf('alpha')?.publicKey === next && factsOf('alpha')?.nextPublicKey === undefined);
    plan(hosts);
    await until('the old key is gone', () => ['beta', 'gamma'].every((host) => tunnel(host as Host, 'alpha')?.publicKeys.join() === next));
    await ended;
    const [, sent = '0', received = '0'] = /(\d+) packets transmitted, (\d+) received/.exec(output) ?? [];
    const lostMs = (Number(sent) - Number(received)) * 100;
    process.stdout.write(`key changed: ${sent} pings at 10/s, ${received} answered, ${lostMs} ms lost\n`);
    expect(Number(sent)).toBeGreaterThan(40);
    expect(lostMs).toBeLessThan(5_000);
    expect(output.trimEnd()).toMatch(/icmp_seq=\d+ ttl/);
    await expect.poll(() => pings('alpha', '10.213.31.11', networkMtu), soon).toBe(true);
    expect(factsOf('alpha')?.rotation).toBe(1);
  });

  it('says when a machine cannot be reached, and when it is back', async () => {
    wires.setCable(machine('gamma'), 'down');
    await until(
      'both miss it',
      () => tunnel('alpha', 'gamma')?.state === 'unreachable' && tunnel('beta', 'gamma')?.state === 'unreachable',
    );
    expect(tunnel('alpha', 'gamma')?.reason).toMatch(/does not answer; keys were agreed last at/);
    expect(tunnel('alpha', 'beta')?.state).toBe('reachable');
    wires.setCable(machine('gamma'), 'up');
    await until('it is back', () => tunnel('alpha', 'gamma')?.state === 'reachable' && tunnel('gamma', 'beta')?.state === 'reachable');
  });

  it('goes on while an agent is dead, and its next start takes the tunnels over', async () => {
    await agent('beta').stop('SIGKILL');
    await expect.poll(() => pings('alpha', '10.213.31.11', networkMtu), soon).toBe(true);
    const before = backend.mode === 'userspace' ? tunnelProcesses('beta') : [];
    plane.view('beta').overlay = undefined;
    agent('beta').start();
    await until('beta measures again', () => tunnel('beta', 'alpha')?.state === 'reachable');
    if (backend.mode === 'userspace') expect(tunnelProcesses('beta')).toEqual(before);
    await expect.poll(() => pings('alpha', '10.213.31.11', networkMtu), soon).toBe(true);
  });

  it.skipIf(backend.mode !== 'userspace')('is made anew when the process of the tunnel dies', async () => {
    const tunnels = tunnelProcesses('alpha');
    expect(tunnels).toHaveLength(1);
    machine('alpha').run('kill', '-9', ...tunnels);
    const end = performance.now() + 30_000;
    while (!(await pings('alpha', '10.213.31.11', networkMtu)) && performance.now() < end);
    await expect.poll(() => pings('alpha', '10.213.31.11', networkMtu), soon).toBe(true);
  });

  it('mends what somebody else takes away', async () => {
    const name = (text: string) => /v8[wx][0-9a-f]+/.exec(text)?.[0] ?? 'none';
    const port = name(atBridge('alpha', 'ip', '-br', 'link', 'show', 'type', 'vxlan'));
    atBridge('alpha', 'ip', 'link', 'delete', 'dev', port);
    const tunnels = ['ip', '-n', tunnelNamespace('gamma')];
    machine('gamma').run(...tunnels, 'link', 'delete', 'dev', name(machine('gamma').run(...tunnels, '-br', 'link')));
    const mended = async (from: Host, to: string) => await expect.poll(() => pings(from, to, 100), { timeout: 60_000 }).toBe(true);
    await mended('alpha', '10.213.31.11');
    await until('gamma has its tunnels again', () => tunnel('gamma', 'alpha')?.state === 'reachable');
    expect(atBridge('alpha', 'ip', '-br', 'link', 'show', 'type', 'vxlan')).toContain(port);
  });

  it('takes a machine that goes out of every other’s tunnels', async () => {
    const key = factsOf('gamma')?.publicKey ?? '';
    const peers = (host: Host) => machine(host).run('nsenter', `--net=/run/netns/${tunnelNamespace(host)}`, 'wg', 'show', 'all', 'peers');
    expect(peers('alpha')).toContain(key);
    plan(['alpha', 'beta']);
    plane.want('gamma', { overlay: undefined as never });
    await until('nobody measures it', () => ['alpha', 'beta'].every((host) => tunnel(host as Host, 'gamma') === undefined));
    for (const host of ['alpha', 'beta'] as const) {
      expect(peers(host)).not.toContain(key);
      expect(atBridge(host, 'bridge', 'fdb', 'show')).not.toContain(addressOf.gamma);
      expect(machine(host).run('ip', '-n', tunnelNamespace(host), '-6', 'route')).not.toContain(addressOf.gamma);
    }
    await expect.poll(() => pings('alpha', '10.213.31.11', networkMtu), soon).toBe(true);
  });

  it('narrows a way that lets large packets not through, and tells guests so', async () => {
    const rule =
      'table inet narrow { chain in { type filter hook input priority -300; iifname "eth0" udp dport 8482 meta length > 1400 drop; }; }';
    machine('alpha').run('nft', rule);
    try {
      await until('both sides have measured it', () => (tunnel('beta', 'alpha')?.mtu ?? tunnelMtu) < tunnelMtu);
      expect(tunnel('beta', 'alpha')).toMatchObject({ state: 'reachable' });
      expect(await pings('beta', '10.213.31.10', networkMtu)).toBe(false);
      expect((await inGuest('beta', 'ip', 'route', 'get', '10.213.31.10')).stdout).toMatch(/ mtu 12\d\d/);
      // Either side sends more than fits, and hears of it from its own machine.
      const serve =
        "const server = require('net').createServer((s) => { s.resume(); s.end(Buffer.alloc(300000)); server.close(); }).listen(7777, () => console.log('up'))";
      const ask =
        "let n = 0; const s = require('net').connect(7777, process.argv[1], () => s.write(Buffer.alloc(300000))); s.on('data', (d) => (n += d.length)); s.on('end', () => { console.log(n); s.end(); })";
      for (const [from, to, address] of [
        ['beta', 'alpha', '10.213.31.10'],
        // The same from subnet to subnet.
        ['far', 'near', '10.213.31.40'],
      ] as const) {
        const [command = '', ...args] = guestRun(to, process.execPath, '-e', serve);
        const server = spawn(command, args);
        await new Promise((resolve) => server.stdout.once('data', resolve));
        const { stdout } = await inGuest(from, process.execPath, '-e', ask, address);
        expect(stdout.trim()).toBe('300000');
      }
    } finally {
      machine('alpha').run('nft', 'delete table inet narrow');
    }
  });

  it('leaves nothing where it is not wanted any more', async () => {
    for (const host of hosts) plane.want(host, { overlay: undefined as never });
    await until('no tunnel is left', () => hosts.every((host) => plane.view(host).overlay?.peers.length === 0));
    for (const host of hosts) {
      for (const look of [machine(host).run, (...words: readonly string[]) => atBridge(host, ...words)]) {
        expect(look('ip', '-br', 'link')).not.toMatch(/v8[wx]/);
        expect(look('nft', 'list', 'ruleset')).not.toMatch(/v8[wx]/);
      }
      expect(machine(host).run('ip', 'netns', 'list')).not.toContain(tunnelNamespace(host));
      expect(machine(host).run('sh', '-c', 'pidof wireguard-go || echo none')).toBe('none\n');
    }
  });
});
