import { createServer, type Server, type TLSSocket } from 'node:tls';
import { Problem, toProblem } from '@virt8ra/contract/plain';
import type { Log } from '../log.js';
import { chunkBytes } from './chunks.js';
import { type DigestTable, pageChunks, pageKind } from './digest-table.js';
import { FrameReader } from './frame-reader.js';
import { checkPeer, type MoverTls, problemFromConnection, tlsOptions } from './peer.js';
import { hangUp, ReceiveSession, type ReceiveTarget } from './receive-session.js';
import {
  badFrame,
  frameType,
  type Hello,
  heldFrames,
  jsonFrame,
  knownCodecs,
  maximumStreams,
  numbersFrame,
  readHello,
  wireVersion,
} from './wire.js';

export interface ReceiverOptions {
  readonly transferId: string;
  readonly target: ReceiveTarget;
  readonly tls: MoverTls;
  /** DNS name that the sender's certificate must carry. */
  readonly peerName: string;
  /** Ports are tried in this order; 0 is any free one. */
  readonly listen: { readonly address: string; readonly ports: readonly number[] };
  readonly log: Log;
  readonly onCounters?: (counters: ReceiveCounters) => void;
}

export interface ReceiveCounters {
  /** Passes that ended, in this process. */
  readonly passes: number;
  /** Content bytes written, over all attempts. */
  readonly bytes: number;
  /** Of these, bytes of chunks that were held already. */
  readonly resentBytes: number;
  readonly streams: number;
}

export interface Receiver {
  readonly address: string;
  readonly port: number;
  /** Root digests of the disks when the transfer is complete and durable. Rejects like `finished`. */
  readonly complete: Promise<readonly string[]>;
  /**
   * The same when the sender knows it, or has not asked for long. Rejects when the target or the journal
   * fails: Problem exhausted when the disk is full. A peer's faults end its connections and nothing else.
   */
  readonly finished: Promise<readonly string[]>;
  readonly counters: ReceiveCounters;
  /** Ends all connections and makes what was received durable. */
  close(): Promise<void>;
}

const helloMs = 10_000;
const keepAliveMs = 10_000;
const checkpointMs = 5_000;
/** The disk writes while the network brings more, so that the end of a pass has little left to wait for. */
const checkpointBytes = 64 * 1024 * 1024;
/** How long a sender that did not say goodbye may come back and ask. */
const lingerMs = 60_000;

/** Listens for the one sender of a transfer. Raises Problem unavailable when no port can be had. */
export async function createReceiver(options: ReceiverOptions): Promise<Receiver> {
  const { target, tls, peerName, log } = options;
  const { journal } = target;
  let session: ReceiveSession | undefined;
  let ending: NodeJS.Timeout | undefined;
  let failure: Problem | undefined;
  const counters = { passes: 0, bytes: journal.bytes, resentBytes: 0, streams: 1 };
  const completion = withResolvers();
  const finishing = withResolvers();

  let sinceCheckpoint = 0;
  let checkpointing = false;
  const checkpoint = () => {
    if (checkpointing || journal.complete || journal.isCheckpointed) return;
    checkpointing = true;
    sinceCheckpoint = 0;
    target.checkpoint().then(
      () => {
        checkpointing = false;
      },
      async (error: unknown) => listener.onTargetFailure(await target.problemFrom(error)),
    );
  };
  const roots = () => journal.tables.map((table) => table.root() ?? '');
  const linger = () => {
    completion.resolve(roots());
    ending ??= setTimeout(() => finishing.resolve(roots()), lingerMs);
  };
  const listener = {
    onChunk: (contentBytes: number, resent: boolean) => {
      counters.bytes += contentBytes;
      if (resent) counters.resentBytes += contentBytes;
      sinceCheckpoint += contentBytes;
      if (sinceCheckpoint >= checkpointBytes) checkpoint();
      options.onCounters?.(counters);
    },
    onPassEnd: () => {
      counters.passes += 1;
      options.onCounters?.(counters);
    },
    onComplete: linger,
    onBye: () => finishing.resolve(roots()),
    onTargetFailure: (problem: Problem) => {
      log.error('the target of a transfer cannot be written', { code: problem.kind, problem: problem.message });
      failure ??= problem;
      completion.reject(problem);
      finishing.reject(problem);
    },
  };

  const join = async (socket: TLSSocket, hello: Hello): Promise<ReceiveSession> => {
    const { sizes } = hello;
    if (hello.transferId !== options.transferId) throw new Problem('forbidden', 'this host waits for another transfer');
    const same = sizes.length === journal.tables.length && journal.tables.every((table, disk) => table.sizeBytes === sizes[disk]);
    if (!same || hello.chunkBytes !== chunkBytes)
      throw new Problem('conflict', 'the disks at both ends differ in number or size', {
        facts: { sender: sizes, receiver: journal.tables.map(({ sizeBytes }) => sizeBytes) },
      });
    if (session?.id !== hello.session) {
      const earlier = session;
      const fresh = new ReceiveSession(hello.session, target, listener);
      session = fresh;
      counters.streams = hello.streams;
      // What the earlier sender's last frames still write must be over before this one is told what is held.
      fresh.ready = earlier?.end() ?? Promise.resolve();
      log.info('a sender begins', { pass: journal.pass, streams: hello.streams });
    }
    const joined = session;
    if (joined === undefined) throw new Problem('internal', 'no session');
    joined.join(hello.stream, socket);
    await joined.ready;
    return joined;
  };

  const serve = (socket: TLSSocket) => {
    let joined: ReceiveSession | undefined;
    const helloTimer = setTimeout(() => refuse(new Problem('unavailable', 'no hello in time')), helloMs);
    const refuse = (error: unknown) => {
      clearTimeout(helloTimer);
      const problem = toProblem(error);
      if (socket.destroyed) return;
      log.warn('a connection was refused or ended', { code: problem.kind, problem: problem.message, from: socket.remoteAddress });
      void hangUp(socket, problem);
    };
    const reader = new FrameReader(
      socket,
      chunkBytes,
      async (frame) => {
        if (joined !== undefined) return await joined.handle(socket, frame);
        if (frame.type !== frameType.hello) throw badFrame('the first frame is not a hello');
        clearTimeout(helloTimer);
        const hello = readHello(frame.body);
        const mine = await join(socket, hello);
        const complete = journal.complete ? { complete: roots() } : {};
        socket.write(
          jsonFrame(frameType.welcome, { version: wireVersion, session: mine.id, pass: journal.pass, codecs: knownCodecs, ...complete }),
        );
        if (hello.stream === 0)
          for (const [disk, table] of journal.tables.entries())
            for (const piece of tableFrames(disk, table, hello.takesZeros === true)) if (!socket.write(piece)) await drained(socket);
        joined = mine;
      },
      refuse,
    );
    socket.setNoDelay(true);
    socket.setKeepAlive(true, keepAliveMs);
    socket.on('error', (error) => log.debug('a connection broke', { problem: error.message }));
    socket.on('close', () => {
      clearTimeout(helloTimer);
      session?.leave(socket);
    });
    try {
      checkPeer(socket, peerName);
    } catch (error) {
      refuse(error);
      return;
    }
    socket.on('data', (bytes: Buffer) => reader.take(bytes));
  };

  const server = createServer({ ...tlsOptions(tls), requestCert: true, handshakeTimeout: helloMs }, serve);
  server.maxConnections = maximumStreams * 4;
  server.on('tlsClientError', (error, socket) =>
    log.warn('a stranger was refused', { problem: problemFromConnection(error, 'the peer').message, from: socket.remoteAddress }),
  );
  const port = await listenOnFirst(server, options.listen.address, options.listen.ports);
  const timer = setInterval(checkpoint, checkpointMs);
  if (journal.complete) linger();
  return {
    address: options.listen.address,
    port,
    complete: completion.promise,
    finished: finishing.promise,
    counters,
    close: async () => {
      clearInterval(timer);
      clearTimeout(ending);
      server.close();
      await session?.end(failure);
      if (failure === undefined && !journal.complete && !journal.isCheckpointed) await target.checkpoint();
    },
  };
}

/** A promise that may be left alone when it rejects. */
function withResolvers() {
  let resolve: (roots: readonly string[]) => void = () => {};
  let reject: (problem: Problem) => void = () => {};
  const promise = new Promise<readonly string[]>((onResolve, onReject) => {
    resolve = onResolve;
    reject = onReject;
  });
  promise.catch(() => {});
  return { promise, resolve, reject };
}

/** What a table holds, in order; pages of nothing but zeros in one frame, however many there are. */
function* tableFrames(disk: number, table: DigestTable, zerosInOne: boolean): Generator<Buffer> {
  let zeros: { readonly first: number; count: number } | undefined;
  for (const [first, digests] of table.pages()) {
    const page = Math.floor(first / pageChunks);
    if (zerosInOne && table.kinds[page] === pageKind.zeros) {
      zeros ??= { first, count: 0 };
      zeros.count += table.lengthOf(page);
      continue;
    }
    if (zeros !== undefined) yield numbersFrame(frameType.heldZeros, [disk, zeros.first, zeros.count]);
    zeros = undefined;
    yield* heldFrames(disk, digests, first);
  }
  if (zeros !== undefined) yield numbersFrame(frameType.heldZeros, [disk, zeros.first, zeros.count]);
}

async function drained(socket: TLSSocket): Promise<void> {
  await new Promise<void>((resolve) => {
    const go = () => {
      socket.off('drain', go).off('close', go);
      resolve();
    };
    socket.on('drain', go).on('close', go);
  });
}

async function listenOnFirst(server: Server, address: string, ports: readonly number[]): Promise<number> {
  let last: unknown;
  for (const port of ports) {
    try {
      return await new Promise<number>((resolve, reject) => {
        server.once('error', reject);
        server.listen(port, address, () => {
          server.off('error', reject);
          const bound = server.address();
          resolve(typeof bound === 'object' && bound !== null ? bound.port : port);
        });
      });
    } catch (error) {
      last = error;
    }
  }
  throw new Problem('unavailable', `no port is free on ${address} for a transfer`, { cause: last });
}
