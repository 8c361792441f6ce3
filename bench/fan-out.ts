import { connect, type Socket } from 'node:net';
import { rest } from '@virt8ra/client';
import { workspace } from '@virt8ra/contract';
import { openConnections } from './http-load.js';
import { nameOf } from './scale.js';
import type { Served } from './served.js';
import { type Timing, timingOf } from './timing.js';

export interface FanOutFigures extends Timing {
  readonly watchers: number;
  readonly writes: number;
}

const watchers = 1000;
const tenant = 'default';
const everyMs = 150;
const patienceMs = 10_000;

/** A write again and again, each from the moment its answer is read until the last of many watchers has read its event. */
export async function measureFanOut({ url, token }: Served, quick: boolean): Promise<FanOutFigures> {
  const writes = quick ? 15 : 100;
  const [writer] = await openConnections(url, token, 1);
  const sockets: Socket[] = [];
  try {
    let mark = '';
    let moments: number[] = [];
    let all: () => void = () => undefined;
    const onEvent = (): void => {
      moments.push(performance.now());
      if (moments.length === watchers) all();
    };
    for (let from = 0; from < watchers; from += 50)
      sockets.push(...(await Promise.all(Array.from({ length: 50 }, async () => await watch(url, token, () => mark, onEvent)))));
    const durations: number[] = [];
    // The first of them warm up.
    for (let write = -5; write < writes; write += 1) {
      mark = `fan-${write + 5}-`;
      moments = [];
      const told = new Promise<void>((resolve, reject) => {
        const timer = setTimeout(() => reject(new Error(`${moments.length} of ${watchers} watchers heard of a write`)), patienceMs);
        all = () => {
          clearTimeout(timer);
          resolve();
        };
      });
      const body = JSON.stringify({ labels: { touched: mark }, spec: {} });
      const path = `/providers/${workspace.provider}/${workspace.version}/tenants/${tenant}/${workspace.collection}/${nameOf(write + 5)}`;
      const answer = await writer?.ask({ method: 'PUT', path, body });
      const acknowledged = performance.now();
      if (answer?.status !== 200) throw new Error(`a write was answered ${answer?.status}`);
      await told;
      if (write >= 0) durations.push(...moments.map((moment) => Math.max(0, moment - acknowledged)));
      await rest(everyMs, undefined);
    }
    return { watchers, writes, ...timingOf(durations) };
  } finally {
    writer?.close();
    for (const socket of sockets) socket.destroy();
  }
}

/** A stream of events that is open; tells once for each mark that it reads. */
async function watch(url: string, token: string, wanted: () => string, onEvent: () => void): Promise<Socket> {
  const { hostname, port, host } = new URL(url);
  const socket = connect(Number(port), hostname);
  let seen = '';
  let tail = '';
  await new Promise<void>((resolve, reject) => {
    socket.once('error', reject);
    socket.once('data', () => resolve());
    socket.on('data', (piece: Buffer) => {
      const mark = wanted();
      if (mark === '' || mark === seen) return;
      tail = (tail + piece.toString('latin1')).slice(-16_384);
      if (!tail.includes(`"${mark}"`)) return;
      seen = mark;
      tail = '';
      onEvent();
    });
    socket.write(
      `GET /providers/virt8ra.events/v1beta1/tenants/${tenant}/events?kinds=${workspace.kind} HTTP/1.1\r\nhost: ${host}\r\nauthorization: Bearer ${token}\r\n\r\n`,
    );
  });
  socket.on('error', () => undefined);
  return socket;
}
