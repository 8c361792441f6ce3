import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { AgentProcess, FakeControlPlane, type SeparateMachine, SeparateMachines, testFolder } from '@virt8ra/agent/testing';
import { type DesiredOverlay, networkMtu, type OverlayFacts } from '@virt8ra/contract';

export interface OverlaySpeed {
  readonly mode: OverlayFacts['mode'];
  readonly rounds: number;
  /** TCP through the tunnel itself, between its ends. */
  readonly tunnelMiBs: number;
  /** TCP between two places of a network, one on each machine. */
  readonly overlayMiBs: number;
  /** Median of the rounds' own shares: what else the machine does changes from round to round, and hits both within one. */
  readonly share: number;
  readonly leastShare: number;
  readonly mostShare: number;
}

const vni = 7401;
const rounds = 5;
const seconds = 2;
const hosts = ['left', 'right'] as const;
type Host = (typeof hosts)[number];
const ends: Readonly<Record<Host, string>> = { left: 'fd00:7401::a', right: 'fd00:7401::b' };
const guests: Readonly<Record<Host, string>> = { left: '10.213.41.10', right: '10.213.41.11' };

/**
 * Two machines with real agents, each a set of namespaces on one wire: the rate of TCP between two places of a network that spans them, as
 * a share of what its tunnel carries by itself. Both in turn, round by round. Raises with the reason where no network can span machines.
 */
export async function measureOverlay(): Promise<OverlaySpeed> {
  if (process.getuid?.() !== 0) throw new Error('it needs root');
  const machines = new Map<Host, SeparateMachine>();
  const agents: AgentProcess[] = [];
  const wires = new SeparateMachines();
  const plane = await FakeControlPlane.start(wires.address);
  const factsOf = (host: Host) => plane.view(host).inventory?.inventory.overlay;
  try {
    for (const host of hosts) {
      const machine = await wires.add();
      machines.set(host, machine);
      const agent = new AgentProcess(plane, host, await testFolder(), ['--network', 'bridge', '--log-level', 'warn'], machine.within);
      agents.push(agent);
      plane.want(host, { networks: [{ key: 'n1', vni, mtu: networkMtu, gateways: ['10.213.41.1/24'] }] });
      agent.start();
    }
    for (const host of hosts) {
      const facts = await plane.until(`${host} says what it can`, () => factsOf(host));
      if (facts.mode === 'none') throw new Error(facts.reason);
      await plane.until(`${host} has the network`, () => plane.view(host).networks.get('n1')?.state === 'ready');
    }
    for (const [host, other] of [hosts, [...hosts].reverse()] as [Host, Host][])
      plane.want(host, { overlay: overlayOf(host, other, factsOf) });
    await plane.until('both reach each other', () =>
      hosts.every((host) => plane.view(host).overlay?.peers[0]?.state === 'reachable' && plane.view(host).overlay?.failed.length === 0),
    );
    const places = new Map<Host, readonly string[]>();
    const tunnels = new Map<Host, readonly string[]>();
    for (const host of hosts) {
      const machine = machines.get(host) as SeparateMachine;
      const { bridge = '', namespace } = plane.view(host).networks.get('n1') ?? {};
      const place = namespace === undefined ? { bridge } : { bridge, namespace };
      const guest = wires.addGuest(machine, place, host, `${guests[host]}/24`, networkMtu);
      const inside = (name: string) => [...machine.within, 'nsenter', `--net=/run/netns/${name}`];
      places.set(host, inside(guest));
      const names = machine.run('ip', '-j', 'netns', 'list');
      const tunnel = (JSON.parse(names) as { name: string }[]).find(({ name }) => name.startsWith('v8o'));
      tunnels.set(host, inside(tunnel?.name ?? ''));
    }
    // Tunnels outlive their agents, which would keep up the rules that let nothing but networks into a tunnel.
    for (const agent of agents) await agent.stop();
    for (const host of hosts) machines.get(host)?.run(...(tunnels.get(host) ?? []).slice(-2), 'nft', 'flush', 'ruleset');
    const measured: { tunnel: number; overlay: number }[] = [];
    await flow(places, guests);
    for (let round = 0; round < rounds; round += 1) {
      const first = round % 2 === 0 ? await flow(tunnels, ends) : await flow(places, guests);
      const second = round % 2 === 0 ? await flow(places, guests) : await flow(tunnels, ends);
      measured.push(round % 2 === 0 ? { tunnel: first, overlay: second } : { tunnel: second, overlay: first });
    }
    const shares = measured.map(({ tunnel, overlay }) => overlay / tunnel);
    const hundredth = (value: number) => Math.round(value * 100) / 100;
    return {
      mode: factsOf('left')?.mode ?? 'none',
      rounds,
      tunnelMiBs: Math.round(median(measured.map(({ tunnel }) => tunnel))),
      overlayMiBs: Math.round(median(measured.map(({ overlay }) => overlay))),
      share: hundredth(median(shares)),
      leastShare: hundredth(Math.min(...shares)),
      mostShare: hundredth(Math.max(...shares)),
    };
  } finally {
    for (const agent of agents) await agent.destroy();
    await plane.stop();
    await wires.destroy();
  }
}

function overlayOf(host: Host, other: Host, factsOf: (host: Host) => OverlayFacts | undefined): DesiredOverlay {
  const { publicKey = '', endpoints = [] } = factsOf(other) ?? {};
  return {
    address: ends[host],
    peers: [{ host: other, address: ends[other], publicKeys: [publicKey], endpoints: [...endpoints] }],
    networks: [{ vni, mtu: networkMtu, peers: [ends[other]] }],
    rotation: 0,
  };
}

/** Counts what arrives after the connection has found its pace, and says MiB/s at its end. */
const receive = `require('net').createServer((s) => { let n = 0, from; s.on('data', (d) => { const now = performance.now();
  from ??= now + 300; if (now > from) n += d.length; }); s.on('end', () => { console.log(n / 1048576 / ((performance.now() - from) / 1000)); process.exit(); });
}).listen(7801, '::', () => console.log('up'))`;
const send = `const s = require('net').connect(7801, process.argv[1]), block = Buffer.alloc(262144), end = performance.now() + ${(seconds * 1000 + 300).toFixed(0)};
const more = () => { while (performance.now() < end) if (!s.write(block)) return void s.once('drain', more); s.end(); }; s.on('connect', more)`;

/** MiB/s of one TCP connection from left to right. */
async function flow(within: ReadonlyMap<Host, readonly string[]>, addresses: Readonly<Record<Host, string>>): Promise<number> {
  const [command = '', ...words] = [...(within.get('right') ?? []), process.execPath, '-e', receive];
  const receiver = spawn(command, words, { stdio: ['ignore', 'pipe', 'inherit'] });
  const lines = createInterface({ input: receiver.stdout })[Symbol.asyncIterator]();
  await lines.next();
  const [sending = '', ...more] = [...(within.get('left') ?? []), process.execPath, '-e', send, addresses.right];
  const sender = spawn(sending, more, { stdio: 'inherit' });
  const { value } = (await lines.next()) as { value?: string };
  await new Promise((resolve) => (sender.exitCode === null ? sender.once('exit', resolve) : resolve(undefined)));
  const rate = Number(value);
  if (!(rate > 0)) throw new Error(`nothing arrived at ${addresses.right}`);
  return rate;
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((one, other) => one - other);
  return sorted[Math.floor(sorted.length / 2)] ?? 0;
}
