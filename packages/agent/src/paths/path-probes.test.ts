import { createServer as createTcpServer, type Server, Socket } from 'node:net';
import { agentDnsName, type PathProbeOutcome, probeBytes, type ServerPathProbe } from '@virt8ra/contract';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { Board } from '../desired/board.js';
import { silentLog } from '../log.js';
import type { MoverTls } from '../mover/peer.js';
import { createTestAuthority, type TestAuthority } from '../testing/test-authority.js';
import { createPathProbes, type PathProbes } from './path-probes.js';
import { dialProbe } from './probe-dialer.js';
import { listenForProbe } from './probe-listener.js';

let authority: TestAuthority;
const tlsOf = new Map<string, MoverTls>();
beforeAll(async () => {
  authority = await createTestAuthority();
  for (const host of ['alpha', 'beta', 'mallory']) tlsOf.set(host, { ...(await authority.hostKey(host)), ca: authority.certificate });
});
const tls = (host: string): MoverTls => tlsOf.get(host) ?? { certificate: '', privateKey: '', ca: '' };
const signal = new AbortController().signal;

const ends: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

const listening = async (waitMs = 5_000) => {
  const listener = await listenForProbe({ address: '127.0.0.1', port: 0, tls: tls('beta'), peerName: agentDnsName('alpha'), waitMs });
  ends.push(listener.close);
  return listener;
};
const dial = async (port: number, host = 'alpha', waitMs = 5_000) =>
  await dialProbe({ address: '127.0.0.1', port, tls: tls(host), peerName: agentDnsName('beta'), waitMs, signal });

/** What stands between both ends: hands octets on, at most so many in each tenth of a second, and dies after so many. */
async function wire(port: number, { perTenth = Number.POSITIVE_INFINITY, dies = Number.POSITIVE_INFINITY }): Promise<number> {
  const server: Server = createTcpServer((near) => {
    const far = new Socket();
    far.connect(port, '127.0.0.1');
    let passed = 0;
    let room = perTenth;
    const refill = setInterval(() => {
      room = perTenth;
      near.resume();
    }, 100);
    near.on('data', (piece) => {
      passed += piece.length;
      room -= piece.length;
      far.write(piece);
      if (passed > dies) for (const each of [near, far]) each.destroy();
      else if (room <= 0) near.pause();
    });
    far.on('data', (piece) => near.write(piece));
    for (const [one, other] of [
      [near, far],
      [far, near],
    ] as const) {
      one.on('error', () => {});
      one.on('close', () => {
        clearInterval(refill);
        other.destroy();
      });
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  ends.push(() => void server.close());
  return (server.address() as { port: number }).port;
}

describe('a path is measured', () => {
  it('as round trip and throughput, in what the peer has counted, and never with more than 16 MiB', async () => {
    const listener = await listening();
    const { rttMs, bytes, seconds } = await dial(listener.port);
    await listener.over;
    expect(rttMs).toBeGreaterThan(0);
    expect(rttMs).toBeLessThan(1000);
    expect(bytes).toBeGreaterThan(1024 * 1024);
    expect(bytes).toBeLessThanOrEqual(probeBytes + 128 * 1024);
    expect(seconds).toBeGreaterThan(0);
  });

  it('for a second where it is slow, however much waits to be sent', async () => {
    const listener = await listening();
    const begin = performance.now();
    const { bytes, seconds } = await dial(await wire(listener.port, { perTenth: 64 * 1024 }));
    expect(seconds).toBeLessThan(3);
    expect(bytes / seconds).toBeLessThan(8 * 1024 * 1024);
    expect(performance.now() - begin).toBeLessThan(5_000);
  });

  it('not at all when it breaks, is silent, or leads to somebody else', async () => {
    await expect(dial(await wire((await listening()).port, { dies: 100_000 }))).rejects.toMatchObject({ kind: 'unavailable' });
    const silent = createTcpServer(() => {});
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
    ends.push(() => void silent.close());
    await expect(dial((silent.address() as { port: number }).port, 'alpha', 300)).rejects.toMatchObject({ kind: 'unavailable' });
    await expect(dial(1)).rejects.toMatchObject({ kind: 'unavailable' });

    const listener = await listening();
    await expect(dial(listener.port, 'mallory')).rejects.toMatchObject({ kind: expect.stringMatching(/unavailable|forbidden/) });
    await expect(listener.over).rejects.toMatchObject({ kind: 'forbidden' });
    const other = await createTestAuthority('another CA');
    const foreign = { ...(await other.hostKey('alpha')), ca: authority.certificate };
    const next = await listening();
    const peerName = agentDnsName('beta');
    await expect(dialProbe({ address: '127.0.0.1', port: next.port, tls: foreign, peerName, waitMs: 2_000, signal })).rejects.toMatchObject(
      {
        kind: expect.stringMatching(/unavailable|forbidden/),
      },
    );
    await expect((await listening(200)).over).rejects.toMatchObject({ kind: 'unavailable' });
  });
});

describe('an agent', () => {
  const agent = (host: string): { probes: PathProbes; board: Board; told(id: string): Promise<PathProbeOutcome> } => {
    const board = new Board();
    const outcomes = new Map<string, PathProbeOutcome>();
    let wake: () => void = () => {};
    const probes = createPathProbes({
      context: { board, config: {} as never, dataAddress: () => '127.0.0.1', log: silentLog },
      identity: () => tls(host),
      tell: (id, outcome) => {
        outcomes.set(id, outcome);
        wake();
      },
    });
    ends.push(probes.stop);
    const told = async (id: string): Promise<PathProbeOutcome> => {
      for (;;) {
        const outcome = outcomes.get(id);
        outcomes.delete(id);
        if (outcome !== undefined) return outcome;
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    };
    return { probes, board, told };
  };
  const order = (peer: string, dialled?: ServerPathProbe['dial']): ServerPathProbe => ({
    type: 'path-probe',
    id: `to-${peer}`,
    peerName: agentDnsName(peer),
    ...(dialled === undefined ? {} : { dial: dialled }),
  });

  it('measures what it is ordered to, one path at a time, and nothing while a disk is being moved', async () => {
    const [alpha, beta] = [agent('alpha'), agent('beta')];
    beta.probes.order(order('alpha'));
    const there = await beta.told('to-alpha');
    if (there.state !== 'listening') throw new Error(there.state);
    beta.probes.order(order('alpha'));
    expect(await beta.told('to-alpha')).toMatchObject({ state: 'busy' });
    alpha.probes.order(order('beta', { address: there.address, port: there.port }));
    expect(await alpha.told('to-beta')).toMatchObject({ state: 'measured', rttMs: expect.any(Number), bytes: expect.any(Number) });

    const counters = { passes: 0, bytes: 0, resentBytes: 0, chunkBytes: 1, streams: 1 };
    alpha.board.post('transfer', 't1', { id: 't1', role: 'send', state: 'copying', ...counters });
    alpha.probes.order(order('beta', { address: there.address, port: there.port }));
    expect(await alpha.told('to-beta')).toMatchObject({ state: 'busy', reason: 'a move is under way on this host' });
    alpha.board.post('transfer', 't1', { id: 't1', role: 'send', state: 'finished', ...counters });
    // That port was for one measurement.
    alpha.probes.order(order('beta', { address: there.address, port: there.port }));
    expect(await alpha.told('to-beta')).toMatchObject({ state: 'failed', reason: expect.stringContaining('beta') });
  });
});
