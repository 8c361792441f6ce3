import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { guestAgentChannel } from '../qemu/command-line.js';
import type { Guest } from '../qemu/guest.js';
import { Turns } from '../system/turns.js';
import { openGuestAgent } from './guest-agent.js';
import { GuestInquiry } from './guest-inquiry.js';

let folder: string;
let server: Server | undefined;
let now: number;
/** Keys of guests that said something new. */
let heard: string[];
let sockets: Socket[];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'v8i-'));
  now = 0;
  heard = [];
  sockets = [];
});
afterEach(() => {
  for (const socket of sockets) socket.destroy();
  server?.close();
  rmSync(folder, { recursive: true, force: true });
});

/** A guest whose agent does to each connection as it likes. */
async function guestThat(acts: (socket: Socket) => void): Promise<Guest> {
  const agent = join(folder, 'agent');
  server = createServer((socket) => {
    sockets.push(socket);
    socket.on('error', () => {});
    acts(socket);
  });
  await new Promise<void>((resolve) => server?.listen(agent, resolve));
  const monitor = { run: async () => [{ label: guestAgentChannel, 'frontend-open': true }] };
  return { launchId: 'launch', paths: { agent }, monitor, agentTurns: new Turns() } as unknown as Guest;
}
/** An agent that answers; `used` is read each time. */
const answering = (used: () => number) => (socket: Socket) => {
  socket.on('data', (piece) => {
    const { execute, arguments: { id } = {} } = JSON.parse(piece.toString('latin1').replace('\u00ff', '')) as {
      execute: string;
      arguments?: { id?: number };
    };
    const answers: Record<string, unknown> = {
      'guest-sync-delimited': id,
      'guest-get-host-name': { 'host-name': 'grün' },
      'guest-get-fsinfo': [{ mountpoint: '/', 'total-bytes': 1000, 'used-bytes': used() }],
    };
    const said = execute in answers ? { return: answers[execute] } : { error: { desc: 'it has been disabled' } };
    socket.write(`\u00ff`, 'latin1');
    socket.write(`${JSON.stringify(said)}\n`);
  });
};
const inquiry = () => new GuestInquiry({ onWord: (key) => heard.push(key), wallMs: () => now, nowMs: () => now });
/** Lets the inquiry ask at a moment; answers how often the guest was spoken to. */
async function askAt(asks: GuestInquiry, guest: Guest, ms: number): Promise<number> {
  now = ms;
  const before = sockets.length;
  await asks.tend('key', guest);
  return sockets.length - before;
}

describe('the inquiry of guests', { timeout: 30_000 }, () => {
  it('asks a guest shortly after its start and once in a minute, and tells what is new', async () => {
    let used = 500;
    const guest = await guestThat(answering(() => used));
    const asks = inquiry();
    expect(await askAt(asks, guest, 0)).toBe(0);
    expect(await askAt(asks, guest, 5_000)).toBe(1);
    expect(heard).toEqual(['key']);
    expect(asks.of('key')).toEqual({
      at: new Date(5_000).toISOString(),
      facts: { hostName: 'grün', fileSystems: [{ mount: '/', sizeBytes: 1000, usedBytes: 500 }] },
    });
    expect(await askAt(asks, guest, 64_999)).toBe(0);
    used = 505;
    expect(await askAt(asks, guest, 65_000)).toBe(1);
    expect(heard).toHaveLength(1);
    used = 700;
    expect(await askAt(asks, guest, 125_000)).toBe(1);
    expect(heard).toHaveLength(2);
    asks.forget('key');
    expect(asks.of('key')).toBeUndefined();
  });

  it('asks one that never answers ever more seldom, and does not hold up who wants to speak to it', async () => {
    const guest = await guestThat(() => {});
    const asks = inquiry();
    await askAt(asks, guest, 0);
    expect(await askAt(asks, guest, 5_000)).toBe(1);
    expect(await askAt(asks, guest, 14_999)).toBe(0);
    const begin = performance.now();
    now = 15_000;
    void asks.tend('key', guest);
    void asks.tend('key', guest);
    expect(await openGuestAgent(guest)).toBeUndefined();
    expect(performance.now() - begin).toBeLessThan(15_000);
    expect(sockets).toHaveLength(3);
    await askAt(asks, guest, 34_999);
    expect(sockets).toHaveLength(3);
    expect(heard).toEqual([]);
  });

  it.each([
    { title: 'never ends a line', flood: Buffer.alloc(65_536, 'x') },
    { title: 'sends lines that are none', flood: Buffer.from('{\n'.repeat(32_768)) },
    { title: 'sends empty lines', flood: Buffer.from('\n'.repeat(65_536)) },
    { title: 'answers what nobody asked', flood: Buffer.from('{"return":{}}\n'.repeat(4_000)) },
  ])('hangs up on one that $title', async ({ flood }) => {
    let sent = 0;
    const guest = await guestThat((socket) => {
      const pour = (): void => {
        while (!socket.destroyed && socket.write(flood)) sent += flood.length;
      };
      socket.on('drain', pour);
      socket.resume();
      pour();
    });
    const asks = inquiry();
    await askAt(asks, guest, 0);
    const { user } = process.cpuUsage();
    expect(await askAt(asks, guest, 5_000)).toBe(1);
    await expect.poll(() => sockets.every(({ destroyed }) => destroyed), { timeout: 5_000 }).toBe(true);
    expect(process.cpuUsage().user - user).toBeLessThan(1_000_000);
    expect(sent).toBeLessThan(4 * 1024 * 1024);
    expect(asks.of('key')).toBeUndefined();
  });
});
