import { setTimeout as pause } from 'node:timers/promises';
import { carrierFromSocket, Problem, type StreamCarrier, streamFrameBytes, streamSubprotocol } from '@virt8ra/contract';
import WebSocket from 'ws';
import type { Identity } from '../link/identity.js';
import { through } from '../link/through.js';

const handshakeMs = 10_000;
/** Several replicas may stand behind one address: the one that holds the ticket is looked for this long. */
const searchMs = 5_000;
const searchPauseMs = 200;

/**
 * The agent's own connection for one stream, under the host's certificate. Raises Problem `not-found` when the ticket is not known there (any
 * more), `unavailable` when the control plane cannot be reached.
 */
export async function dialStream(identity: Identity, ticket: string, replica?: string): Promise<StreamCarrier> {
  const end = performance.now() + (replica === undefined ? searchMs : 0);
  for (;;) {
    try {
      return await dialOnce(identity, ticket, replica ?? identity.server);
    } catch (error) {
      if (!(error instanceof Problem) || error.kind !== 'not-found' || performance.now() > end) throw error;
      await pause(searchPauseMs);
    }
  }
}

async function dialOnce(identity: Identity, ticket: string, server: string): Promise<StreamCarrier> {
  const url = new URL(`/agent/v1/streams/${ticket}`, server);
  url.protocol = 'wss:';
  const socket = new WebSocket(url, [streamSubprotocol], {
    ...through(identity, url),
    ca: identity.ca,
    cert: identity.certificate,
    key: identity.privateKey,
    minVersion: 'TLSv1.3',
    maxPayload: streamFrameBytes,
    handshakeTimeout: handshakeMs,
    perMessageDeflate: false,
  });
  return await new Promise((resolve, reject) => {
    socket.once('open', () => resolve(carrierFromSocket(socket)));
    socket.on('error', (error) =>
      reject(new Problem('unavailable', `${url.origin} cannot be reached: ${error.message}`, { cause: error })),
    );
    socket.once('unexpected-response', (request, response) => {
      const { statusCode = 0 } = response;
      response.resume();
      request.destroy();
      const kind = statusCode === 404 ? 'not-found' : 'unavailable';
      reject(new Problem(kind, `${url.origin} answered the dial of a stream with ${statusCode}`));
    });
  });
}
