import { carrierFromSocket, type ServerStream, type StreamCarrier, streamSubprotocol } from '@virt8ra/contract';
import WebSocket from 'ws';
import type { SimulatedIdentity } from './simulated-identity.js';

/** What stands behind the streams of a simulated host. */
export type SimulatedPlace = (request: ServerStream, carrier: StreamCarrier) => void;

/** A place that says back what it is told. */
export const echoPlace: SimulatedPlace = (_request, carrier) => {
  carrier.send({ type: 'opened' });
  carrier.listen({ frame: (frame) => carrier.send(frame), ended: () => {} });
};

/** Dials for a stream as an agent does; answers the status when it is refused. */
export async function dialSimulatedStream(
  { ca, certificate, privateKey }: SimulatedIdentity,
  server: string,
  ticket: string,
): Promise<StreamCarrier | number> {
  const url = new URL(`/agent/v1/streams/${ticket}`, server);
  url.protocol = 'wss:';
  const socket = new WebSocket(url, [streamSubprotocol], { ca, cert: certificate, key: privateKey, perMessageDeflate: false });
  return await new Promise((resolve, reject) => {
    socket.once('open', () => resolve(carrierFromSocket(socket)));
    socket.once('unexpected-response', (request, response) => {
      response.resume();
      request.destroy();
      resolve(response.statusCode ?? 0);
    });
    socket.on('error', reject);
  });
}
