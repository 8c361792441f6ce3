import { execFile, execFileSync, spawn } from 'node:child_process';
import { createHash, X509Certificate } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { type DesiredOverlay, networkMtu, type OverlayFacts, tunnelMtu } from '@virt8ra/contract';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { interfaceName } from '../network/interface-name.js';
import { probeBridging } from '../network/taps.js';
import { AgentProcess, testFolder } from '../testing/agent-process.js';
import { FakeControlPlane } from '../testing/fake-control-plane.js';
import { type SeparateMachine, SeparateMachines } from '../testing/separate-machines.js';
import { chooseTunnelBackend } from './tunnel-backend.js';

const bridging = process.getuid?.() === 0 ? await probeBridging('overlay-test') : { usable: false, reason: 'it needs root' };
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
  const guests = new Map<Host, string>();

  const factsOf = (host: Host): OverlayFacts | undefined => plane.view(host).inventory?.inventory.overlay;
  const machine = (host: Host): SeparateMachine => machines.get(host) as SeparateMachine;
  const agent = (host: Host): AgentProcess => agents.get(host) as AgentProcess;
  const guest = (host: Host): string => guests.get(host) as string;
  const tunnel = (from: Host, to: Host) => plane.view(from).overlay?.peers.find((peer) => peer.host === to);
  const until = async (what: string, found: () => unknown) => await plane.until(what, () => found() || undefined, 60_000);
  const pings = async (from: Host, address: string, bytes: number, extra: readonly string[] = []) =>
    await run('ip', [
      'netns',
      'exec',
      guest(from),
      'ping',
      '-c',
      '1',
      '-W',
      '2',
      '-M',
      'do',
      '-s',
      String(bytes - 28),
      ...extra,
      address,
    ]).then(
      () => true,
      () => false,
    );

  const tunnelNamespace = (host: Host): string => {
    const controlPlane = new X509Certificate(plane.authority.certificate).fingerprint256;
    return interfaceName('v8o', controlPlane, createHash('sha256').update(agent(host).state).digest('hex').slice(0, 10));
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
        networks: [{ vni, mtu: networkMtu, peers: others.map((other) => addressOf[other]) }],
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
      const place = wires.add();
      machines.set(host, place);
      const process = new AgentProcess(plane, host, await testFolder(), ['--network', 'bridge'], place.namespace);
      agents.set(host, process);
      plane.want(host, { networks: [{ key: 'n1', vni, mtu: networkMtu, gateways: ['10.213.31.1/24'] }] });
      process.start();
    }
    for (const [index, host] of hosts.entries()) {
      await until(
        `${host} has its bridge and says where it is`,
        () => plane.view(host).networks.get('n1')?.state === 'ready' && factsOf(host),
      );
      const bridge = plane.view(host).networks.get('n1')?.bridge ?? '';
      const { namespace } = machine(host);
      guests.set(host, wires.addGuest({ bridge, namespace }, host, `10.213.31.${10 + index}/24`, networkMtu));
    }
  }, 120_000);
  afterEach(({ task }) => {
    if (task.result?.state === 'fail') for (const { host, log } of agents.values()) process.stderr.write(`--- ${host}\n${log}\n`);
  });
  afterAll(async () => {
    for (const each of agents.values()) await each.destroy();
    await plane?.stop();
    wires?.destroy();
  });

  it('says of each host how it can be reached, with a key that nobody else reads', () => {
    for (const host of hosts) {
      const facts = factsOf(host);
      expect(facts).toMatchObject({ mode: backend.mode, rotation: 0 });
      expect(facts?.endpoints).toContain(`${machine(host).address}:8482`);
      const file = join(agent(host).state, 'overlay', 'private-key');
      expect(statSync(file).mode & 0o777).toBe(0o600);
      expect(JSON.stringify(plane.view(host).inventory)).not.toContain(readFileSync(file, 'utf8').trim());
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
    expect(await pings('alpha', '10.213.31.11', networkMtu)).toBe(true);
    expect(await pings('alpha', '10.213.31.11', networkMtu + 1)).toBe(false);
    expect(await pings('alpha', '10.213.31.12', 100)).toBe(false);
  });

  it('has every guest served by the gateway of its own machine', async () => {
    expect(await pings('alpha', '10.213.31.1', 100)).toBe(true);
    execFileSync('ip', ['-n', guest('alpha'), 'neigh', 'flush', 'all']);
    const bridge = plane.view('alpha').networks.get('n1')?.bridge ?? '';
    execFileSync('ip', ['-n', machine('alpha').namespace, 'address', 'delete', '10.213.31.1/24', 'dev', bridge]);
    expect(await pings('alpha', '10.213.31.1', 100)).toBe(false);
    execFileSync('ip', ['-n', machine('alpha').namespace, 'address', 'add', '10.213.31.1/24', 'dev', bridge]);
  });

  it('sends nothing of a network in the clear and takes nothing from outside of the tunnels', async () => {
    const { namespace } = machine('beta');
    const inside = (...args: string[]) => execFileSync('ip', ['netns', 'exec', namespace, ...args], { encoding: 'utf8' });
    const clear =
      'table inet clear { chain out { type filter hook output priority 0; oifname "eth0" meta l4proto udp udp sport != 8482 counter; }; }';
    const tunnelled = 'table inet tunnelled { chain out { type filter hook output priority 0; oifname "eth0" udp sport 8482 counter; }; }';
    for (const table of [clear, tunnelled]) inside('nft', table);
    expect(await pings('beta', '10.213.31.10', networkMtu)).toBe(true);
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
    expect(await pings('gamma', '10.213.31.10', networkMtu)).toBe(true);
    expect(await pings('beta', '10.213.31.12', networkMtu)).toBe(true);
  });

  it('follows an address that moves to another machine as soon as it speaks there', async () => {
    expect(await pings('alpha', '10.213.31.12', 100)).toBe(true);
    wires.removeGuest(guest('gamma'));
    const bridge = plane.view('beta').networks.get('n1')?.bridge ?? '';
    guests.set('gamma', wires.addGuest({ bridge, namespace: machine('beta').namespace }, 'gamma', '10.213.31.12/24', networkMtu));
    // Its first packet is what QEMU's announcement is for a guest.
    expect(await pings('gamma', '10.213.31.11', 100)).toBe(true);
    expect(await pings('gamma', '10.213.31.10', 100)).toBe(true);
    expect(await pings('alpha', '10.213.31.12', networkMtu)).toBe(true);
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
    const stream = spawn('ip', ['netns', 'exec', guest('alpha'), 'ping', '-i', '0.1', '-W', '1', '-w', '8', '10.213.31.11']);
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
    expect(await pings('alpha', '10.213.31.11', networkMtu)).toBe(true);
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
    expect(await pings('alpha', '10.213.31.11', networkMtu)).toBe(true);
    const { namespace } = machine('beta');
    const process = () => execFileSync('ip', ['netns', 'pids', namespace], { encoding: 'utf8' }).trim().split('\n');
    const before = process();
    plane.view('beta').overlay = undefined;
    agent('beta').start();
    await until('beta measures again', () => tunnel('beta', 'alpha')?.state === 'reachable');
    if (backend.mode === 'userspace') expect(process()).toEqual(expect.arrayContaining(before));
    expect(await pings('alpha', '10.213.31.11', networkMtu)).toBe(true);
  });

  it.skipIf(backend.mode !== 'userspace')('is made anew when the process of the tunnel dies', async () => {
    const { namespace } = machine('alpha');
    const pids = execFileSync('ip', ['netns', 'pids', namespace], { encoding: 'utf8' }).trim().split('\n').map(Number);
    const tunnels = pids.filter((pid) => readFileSync(`/proc/${pid}/cmdline`, 'utf8').startsWith('wireguard-go'));
    expect(tunnels).toHaveLength(1);
    for (const pid of tunnels) process.kill(pid, 'SIGKILL');
    const end = performance.now() + 30_000;
    while (!(await pings('alpha', '10.213.31.11', networkMtu)) && performance.now() < end);
    expect(await pings('alpha', '10.213.31.11', networkMtu)).toBe(true);
  });

  it('narrows a way that lets large packets not through, and tells guests so', async () => {
    const { namespace } = machine('alpha');
    const rule =
      'table inet narrow { chain in { type filter hook input priority -300; iifname "eth0" udp dport 8482 meta length > 1400 drop; }; }';
    execFileSync('ip', ['netns', 'exec', namespace, 'nft', rule]);
    try {
      await until('both sides have measured it', () => (tunnel('beta', 'alpha')?.mtu ?? tunnelMtu) < tunnelMtu);
      expect(tunnel('beta', 'alpha')).toMatchObject({ state: 'reachable' });
      expect(await pings('beta', '10.213.31.10', networkMtu)).toBe(false);
      expect(execFileSync('ip', ['-n', guest('beta'), 'route', 'get', '10.213.31.10'], { encoding: 'utf8' })).toMatch(/ mtu 12\d\d/);
      // Either side sends more than fits, and hears of it from its own machine.
      const serve =
        "require('net').createServer((s) => { s.resume(); s.end(Buffer.alloc(300000)); }).listen(7777, () => console.log('up'))";
      const ask =
        "let n = 0; const s = require('net').connect(7777, '10.213.31.10', () => s.write(Buffer.alloc(300000))); s.on('data', (d) => (n += d.length)); s.on('end', () => { console.log(n); s.end(); })";
      const server = spawn('ip', ['netns', 'exec', guest('alpha'), process.execPath, '-e', serve]);
      await new Promise((resolve) => server.stdout.once('data', resolve));
      const { stdout } = await run('ip', ['netns', 'exec', guest('beta'), process.execPath, '-e', ask], { timeout: 30_000 });
      server.kill('SIGKILL');
      expect(stdout.trim()).toBe('300000');
    } finally {
      execFileSync('ip', ['netns', 'exec', namespace, 'nft', 'delete table inet narrow']);
    }
  });

  it('leaves nothing where it is not wanted any more', async () => {
    for (const host of hosts) plane.want(host, { overlay: undefined as never });
    await until('no tunnel is left', () => hosts.every((host) => plane.view(host).overlay?.peers.length === 0));
    for (const host of hosts) {
      const { namespace } = machine(host);
      expect(execFileSync('ip', ['-n', namespace, '-br', 'link'], { encoding: 'utf8' })).not.toMatch(/v8[wx]/);
      expect(execFileSync('ip', ['netns', 'list'], { encoding: 'utf8' })).not.toContain(tunnelNamespace(host));
      expect(execFileSync('ip', ['netns', 'exec', namespace, 'nft', 'list', 'ruleset'], { encoding: 'utf8' })).toBe('');
    }
  });
});
