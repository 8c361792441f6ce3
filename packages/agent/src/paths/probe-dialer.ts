import { randomBytes } from 'node:crypto';
import { connect, type TLSSocket } from 'node:tls';
import { Problem, probeBytes, probeMs, toProblem } from '@virt8ra/contract';
import { checkPeer, type MoverTls, problemFromConnection, tlsOptions } from '../mover/peer.js';
import { probeWord } from './probe-wire.js';

export interface PathFigures {
  readonly rttMs: number;
  readonly bytes: number;
  readonly seconds: number;
}

const roundTrips = 5;
const pieceBytes = 64 * 1024;

/**
 * Measures the path to the one peer that was ordered: the shortest of a few round trips, then, for at most a second and 16 MiB, how much goes
 * through, in the peer's own count. Raises Problem unavailable when it cannot be reached, is lost or says nothing usable in time, forbidden when it is
 * somebody else: what was not measured has no figure.
 */
export async function dialProbe(options: {
  readonly address: string;
  readonly port: number;
  readonly tls: MoverTls;
  readonly peerName: string;
  readonly waitMs: number;
  readonly signal: AbortSignal;
}): Promise<PathFigures> {
  const { address, port, tls, peerName, waitMs, signal } = options;
  const where = `${peerName} (${address}:${port})`;
  const socket = connect({ host: address, port, ...tlsOptions(tls), servername: peerName, checkServerIdentity: () => undefined });
  const answers = new Answers(socket);
  const cancel = (): void => answers.fail(new Problem('cancelled', 'the agent stops'));
  if (signal.aborted) cancel();
  signal.addEventListener('abort', cancel, { once: true });
  const timer = setTimeout(() => answers.fail(new Problem('unavailable', `${where} did not answer within ${waitMs / 1000} s`)), waitMs);
  socket.on('error', (error) => answers.fail(error instanceof Problem ? error : problemFromConnection(error, where)));
  socket.on('close', () => answers.fail(new Problem('unavailable', `the connection with ${where} was lost`)));
  try {
    await answers.first('secureConnect');
    checkPeer(socket, peerName);
    socket.setNoDelay(true);
    let rttMs = Number.POSITIVE_INFINITY;
    for (let count = 0; count < roundTrips; count += 1) {
      const asked = performance.now();
      socket.write(Buffer.of(probeWord.ping));
      await answers.take(1);
      rttMs = Math.min(rttMs, performance.now() - asked);
    }
    socket.write(Buffer.of(probeWord.load));
    const line = answers.line();
    line.catch(() => {});
    await load(socket, answers);
    const { bytes, ms } = figuresFrom(await line);
    if (bytes === 0 || ms <= 0) throw new Problem('unavailable', `nothing came through to ${where} within ${probeMs / 1000} s`);
    return { rttMs: Math.round(rttMs * 1000) / 1000, bytes, seconds: ms / 1000 };
  } catch (error) {
    throw toProblem(error);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', cancel);
    socket.destroy();
  }
}

/** Sends until the peer says that it has enough, or as much as may be sent. What cannot be packed smaller on its way. */
async function load(socket: TLSSocket, answers: Answers): Promise<void> {
  const piece = randomBytes(pieceBytes);
  const begin = performance.now();
  // One piece more than is counted: the first is not.
  for (let sent = 0; sent < probeBytes + pieceBytes && performance.now() - begin < probeMs; sent += pieceBytes) {
    if (answers.isAnswered) return;
    if (!socket.write(piece)) await Promise.race([answers.first('drain'), answers.anything()]);
  }
}

function figuresFrom(line: string): { readonly bytes: number; readonly ms: number } {
  try {
    const { bytes, ms } = JSON.parse(line) as { bytes?: unknown; ms?: unknown };
    if (typeof bytes === 'number' && Number.isInteger(bytes) && bytes >= 0 && typeof ms === 'number' && ms >= 0) return { bytes, ms };
  } catch {
    // Said below.
  }
  throw new Problem('unavailable', 'the peer answered what is no measurement');
}

/** What comes in, in turn; the first fault ends every wait. */
class Answers {
  readonly #socket: TLSSocket;
  readonly #watchers = new Set<() => void>();
  #held = Buffer.alloc(0);
  #fault: Problem | undefined;

  constructor(socket: TLSSocket) {
    this.#socket = socket;
    socket.on('data', (piece: Buffer) => {
      if (this.#held.length > 1024) return this.fail(new Problem('unavailable', 'the peer answered what is no measurement'));
      this.#held = Buffer.concat([this.#held, piece]);
      this.#wake();
    });
  }

  get isAnswered(): boolean {
    return this.#held.length > 0 || this.#fault !== undefined;
  }

  fail(problem: Problem): void {
    this.#fault ??= problem;
    this.#socket.destroy();
    this.#wake();
  }

  async first(event: 'secureConnect' | 'drain'): Promise<void> {
    let happened = false;
    this.#socket.once(event, () => {
      happened = true;
      this.#wake();
    });
    await this.#until(() => happened);
  }

  async anything(): Promise<void> {
    await this.#until(() => this.#held.length > 0);
  }

  async take(bytes: number): Promise<void> {
    await this.#until(() => this.#held.length >= bytes);
    this.#held = this.#held.subarray(bytes);
  }

  async line(): Promise<string> {
    await this.#until(() => this.#held.includes(0x0a));
    return this.#held.toString('utf8', 0, this.#held.indexOf(0x0a));
  }

  async #until(found: () => boolean): Promise<void> {
    while (!found()) {
      if (this.#fault !== undefined) throw this.#fault;
      await new Promise<void>((resolve) => {
        const wake = (): void => {
          this.#watchers.delete(wake);
          resolve();
        };
        this.#watchers.add(wake);
      });
    }
  }

  #wake(): void {
    for (const watcher of [...this.#watchers]) watcher();
  }
}
