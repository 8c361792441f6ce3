import {
  carrierFromSocket,
  type OpenedStream,
  openedStream,
  Problem,
  type StreamCarrier,
  streamFrameBytes,
  streamSubprotocol,
} from '@virt8ra/contract';
import WebSocket from 'ws';
import { problemFromConnection } from './exchange.js';
import { type Call, problemFromAnswer, type Transport } from './transport.js';

/** Longer than the control plane waits for a host. */
const handshakeMs = 60_000;

/** Opens a stream of the API; resolves when its far end is there. Raises the server's problem, or `unavailable`. */
export async function openStream(transport: Transport, call: Omit<Call, 'method'>): Promise<OpenedStream> {
  const { url, headers, ca, signal } = await transport.address({ ...call, method: 'GET' });
  url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
  const socket = new WebSocket(url, [streamSubprotocol], {
    headers: { ...headers, accept: 'application/problem+json' },
    handshakeTimeout: handshakeMs,
    maxPayload: streamFrameBytes,
    perMessageDeflate: false,
    ...(ca === undefined ? {} : { ca }),
  });
  const leave = (): void => socket.terminate();
  signal?.addEventListener('abort', leave);
  try {
    const carrier = await new Promise<StreamCarrier>((resolve, reject) => {
      socket.once('open', () => resolve(carrierFromSocket(socket)));
      socket.on('error', (error) => reject(problemFromConnection(error, { url: new URL(transport.server), signal })));
      socket.once('unexpected-response', (_request, response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('close', () => {
          const { statusCode: status = 0, headers: answered } = response;
          reject(problemFromAnswer({ status, headers: answered, text: Buffer.concat(chunks).toString('utf8') }));
        });
      });
    });
    return await openedStream(carrier);
  } catch (error) {
    throw signal?.aborted === true ? new Problem('cancelled', 'interrupted', { cause: error }) : error;
  } finally {
    signal?.removeEventListener('abort', leave);
  }
}
