import { Agent, type IncomingMessage, request } from 'node:http';
import { Problem } from '@virt8ra/contract';
import type { HttpWay } from '../way.js';

/** The way out of tests: plain HTTP, no proxy. Refuses as the control plane's own does. */
export function createNodeWay(): HttpWay {
  return {
    open(_url, _egress, connections = 1) {
      const agent = new Agent({ keepAlive: true, maxSockets: connections });
      return { agent, end: () => agent.destroy() };
    },
    async send(url, { method, headers, body, signal, silenceMs = 30_000, line }) {
      return await new Promise<IncomingMessage>((resolve, reject) => {
        let connected = false;
        const asking = request(url, {
          method,
          headers: { ...headers, ...(typeof body === 'string' ? { 'content-length': Buffer.byteLength(body) } : {}) },
          agent: line?.agent ?? false,
          timeout: silenceMs,
          ...(signal === undefined ? {} : { signal }),
        });
        asking.once('socket', (socket) => {
          if (socket.connecting) socket.once('connect', () => (connected = true));
          else connected = true;
        });
        asking.once('timeout', () => asking.destroy(new Error(`silent for ${silenceMs / 1000} s`)));
        asking.once('response', resolve);
        asking.once('error', (error) =>
          reject(
            new Problem('unavailable', `${url.host} could not be reached: ${error.message}`, { cause: error, facts: { sent: connected } }),
          ),
        );
        if (body === undefined || typeof body === 'string') asking.end(body);
        else {
          asking.once('close', () => body.destroy());
          body.once('error', (error) => asking.destroy(error)).pipe(asking);
        }
      });
    },
  };
}
