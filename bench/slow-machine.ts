import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, rmSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/** A machine of its own, behind a link that carries so much: nothing of the kernel's is needed but a network namespace. */
export interface SlowMachine {
  /** Where its data ports are reached, through the link, from here and from there. */
  readonly address: string;
  readonly ports: string;
  /** Words before a command that runs there. */
  readonly within: readonly string[];
  destroy(): void;
}

/** Runs there: what comes from a Unix socket goes to a TCP port, and the other way round. */
const relay = `
const { connect, createServer } = require('node:net');
const [mode, ...rest] = process.argv.slice(1);
const join = (one, other) => {
  for (const [from, to] of [[one, other], [other, one]]) { from.on('error', () => to.destroy()); from.on('close', () => to.destroy()); from.pipe(to); }
};
for (const pair of rest) {
  const [path, host, port] = pair.split(',');
  if (mode === 'in') createServer((near) => join(near, connect(Number(port), host))).listen(path);
  else createServer((near) => join(near, connect(path))).listen(Number(port), host);
}
console.log('relays');
`;

const portCount = 4;

/**
 * Makes a machine whose data ports are reached at an address of its own, at so many bytes a second in each direction, and which reaches `server` (a
 * port of the loopback here) at full speed. Needs root. Everything goes with `destroy`, or with this process but for the namespace.
 */
export async function makeSlowMachine(options: {
  readonly folder: string;
  readonly serverPorts: readonly number[];
  readonly bytesPerSecond: number;
}): Promise<SlowMachine> {
  const { folder, serverPorts, bytesPerSecond } = options;
  if (process.getuid?.() !== 0) throw new Error('a machine of its own needs root');
  const id = randomBytes(3).toString('hex');
  const name = `v8slow${id}`;
  const address = `127.${randomBytes(1)[0] ?? 9}.${randomBytes(1)[0] ?? 9}.9`;
  const first = 43_000 + (((randomBytes(2).readUInt16LE() % 1000) * portCount) % 4000);
  const ports = Array.from({ length: portCount }, (_, index) => first + index);
  const within = ['ip', 'netns', 'exec', name];
  const ends: ChildProcess[] = [];
  const servers: Server[] = [];
  const link = { there: new Bucket(bytesPerSecond), back: new Bucket(bytesPerSecond) };
  const socketOf = (kind: string, port: number): string => join(folder, `${kind}-${id}-${port}`);
  const destroy = (): void => {
    for (const server of servers) server.close();
    for (const end of ends) end.kill('SIGKILL');
    for (const port of [...ports, ...serverPorts]) for (const kind of ['data', 'up']) rmSync(socketOf(kind, port), { force: true });
    ip('netns', 'delete', name);
  };
  ip('netns', 'add', name);
  try {
    ip('netns', 'exec', name, 'ip', 'link', 'set', 'lo', 'up');
    const start = async (mode: 'in' | 'out', pairs: readonly string[], words: readonly string[]): Promise<void> => {
      const [program = process.execPath, ...before] = [...words, process.execPath];
      const child = spawn(program, [...before, '-e', relay, mode, ...pairs], { stdio: ['ignore', 'pipe', 'inherit'] });
      ends.push(child);
      await Promise.race([once(child.stdout, 'data'), once(child, 'exit').then(() => Promise.reject(new Error('a relay ended')))]);
    };
    await start(
      'in',
      ports.map((port) => `${socketOf('data', port)},${address},${port}`),
      within,
    );
    await start(
      'in',
      serverPorts.map((port) => `${socketOf('up', port)},127.0.0.1,${port}`),
      [],
    );
    await start(
      'out',
      serverPorts.map((port) => `${socketOf('up', port)},127.0.0.1,${port}`),
      within,
    );
    for (const port of ports) {
      const server = createServer((near) => shape(near, connect(socketOf('data', port)), link));
      servers.push(server);
      server.listen(port, address);
      await once(server, 'listening');
    }
    for (const port of ports) while (!existsSync(socketOf('data', port))) await sleep(10);
    return { address, ports: `${first}-${first + portCount - 1}`, within, destroy };
  } catch (error) {
    destroy();
    throw error;
  }
}

function ip(...words: readonly string[]): void {
  execFileSync('ip', words, { stdio: ['ignore', 'pipe', 'pipe'] });
}

const tickMs = 10;

/** Hands octets on as fast as the link carries them, all connections of a direction together. */
function shape(near: Socket, far: Socket, link: { readonly there: Bucket; readonly back: Bucket }): void {
  const pairs = [
    [link.there, near, far],
    [link.back, far, near],
  ] as const;
  for (const [bucket, from, to] of pairs) {
    from.on('error', () => to.destroy());
    from.on('close', () => to.destroy());
    from.on('end', () => to.end());
    from.on('data', (piece: Buffer) => {
      const drained = to.write(piece);
      const waitMs = bucket.take(piece.length);
      if (drained && waitMs <= 0) return;
      from.pause();
      const go = (): void => void setTimeout(() => from.resume(), Math.max(0, waitMs));
      if (drained) go();
      else to.once('drain', go);
    });
  }
}

/** What may pass at a steady rate; a debt is waited off by whoever made it. */
class Bucket {
  readonly #perMs: number;
  #free = 0;
  #at = performance.now();

  constructor(bytesPerSecond: number) {
    this.#perMs = bytesPerSecond / 1000;
  }

  /** Milliseconds until more may pass. */
  take(bytes: number): number {
    const now = performance.now();
    this.#free = Math.min(this.#perMs * tickMs, this.#free + (now - this.#at) * this.#perMs);
    this.#at = now;
    this.#free -= bytes;
    return this.#free >= 0 ? 0 : -this.#free / this.#perMs;
  }
}
