import { createServer, type TLSSocket } from 'node:tls';
import { Problem, probeBytes, probeMs, toProblem } from '@virt8ra/contract';
import { checkPeer, type MoverTls, problemFromConnection, tlsOptions } from '../mover/peer.js';
import { probeWord } from './probe-wire.js';

export interface ProbeListener {
  readonly port: number;
  /** Resolves when the peer has its answer. Rejects with Problem unavailable when none comes in time, forbidden when it is somebody else. */
  readonly over: Promise<void>;
  close(): void;
}

/**
 * Listens for one measurement of the one peer that was ordered: answers its round trips, swallows what it sends, and tells it how much came in
 * which time. It ends what takes too long or is too much by itself, whatever the peer does.
 */
export async function listenForProbe(options: {
  readonly address: string;
  readonly port: number;
  readonly tls: MoverTls;
  readonly peerName: string;
  readonly waitMs: number;
}): Promise<ProbeListener> {
  const { address, port, tls, peerName, waitMs } = options;
  let settle: (problem?: Problem) => void = () => {};
  const over = new Promise<void>((resolve, reject) => {
    settle = (problem) => (problem === undefined ? resolve() : reject(problem));
  });
  over.catch(() => {});
  const sockets = new Set<TLSSocket>();
  const server = createServer({ ...tlsOptions(tls), requestCert: true, handshakeTimeout: waitMs }, (socket) => {
    socket.on('error', (error) => settle(problemFromConnection(error, peerName)));
    try {
      checkPeer(socket, peerName);
    } catch (error) {
      socket.destroy();
      return settle(toProblem(error));
    }
    if (sockets.size > 0) return socket.destroy();
    sockets.add(socket);
    socket.on('close', () => settle(new Problem('unavailable', `${peerName} ended the connection early`)));
    socket.setNoDelay(true);
    measure(socket, settle);
  });
  server.maxConnections = 4;
  server.on('tlsClientError', (error) => settle(problemFromConnection(error, 'who dialled')));
  const timer = setTimeout(() => settle(new Problem('unavailable', `${peerName} did not come within ${waitMs / 1000} s`)), waitMs);
  const close = (): void => {
    clearTimeout(timer);
    server.close();
    for (const socket of sockets) socket.destroy();
  };
  over.then(close, close);
  return {
    port: await new Promise<number>((resolve, reject) => {
      const refuse = (error: Error): void => {
        close();
        reject(new Problem('unavailable', `nothing can listen at ${address}:${port}: ${error.message}`, { cause: error }));
      };
      server.once('error', refuse);
      server.listen(port, address, () => {
        server.off('error', refuse);
        const bound = server.address();
        resolve(typeof bound === 'object' && bound !== null ? bound.port : port);
      });
    }),
    over,
    close: () => {
      settle(new Problem('cancelled', 'the agent stops'));
      close();
    },
  };
}

function measure(socket: TLSSocket, settle: (problem?: Problem) => void): void {
  let begin: number | undefined;
  let last = 0;
  let bytes = 0;
  let told = false;
  let late: NodeJS.Timeout | undefined;
  const tell = (): void => {
    if (told) return;
    told = true;
    clearTimeout(late);
    socket.end(`${JSON.stringify({ bytes, ms: bytes === 0 ? 0 : last })}\n`, () => settle());
  };
  socket.on('data', (piece: Buffer) => {
    if (told) return;
    const now = performance.now();
    if (begin !== undefined) {
      bytes += piece.length;
      last = now - begin;
      if (bytes >= probeBytes || last >= probeMs) tell();
    } else if (piece[0] === probeWord.load) {
      // What comes with the first octet was on its way before the clock ran, and is not counted.
      begin = now;
      late = setTimeout(tell, probeMs);
    } else for (const word of piece) if (word === probeWord.ping) socket.write(Buffer.of(probeWord.ping));
  });
  socket.on('end', tell);
  socket.on('close', () => clearTimeout(late));
}
