import { createConnection, type Socket } from 'node:net';
import { Problem } from '@virt8ra/contract';

/** An event QEMU sent, such as SHUTDOWN or BLOCK_JOB_READY. */
export interface MonitorEvent {
  readonly event: string;
  readonly data: Readonly<Record<string, unknown>>;
  /** By QEMU's wall clock, milliseconds since 1970. */
  readonly atMs: number;
}

/** A QEMU process, spoken to over its QMP socket. */
export interface Monitor {
  /** Runs a command. Raises Problem internal with QEMU's own words when it fails, unavailable when QEMU is gone or does not answer. */
  run(command: string, args?: object, timeoutMs?: number): Promise<unknown>;
  onEvent(listener: (event: MonitorEvent) => void): () => void;
  /** Resolves when the connection ended, by whichever side. */
  readonly closed: Promise<void>;
  close(): void;
}

interface Waiting {
  readonly command: string;
  readonly timer: NodeJS.Timeout;
  resolve(value: unknown): void;
  reject(error: Problem): void;
}

const answerMs = 30_000;
const lineLimit = 64 * 1024 * 1024;

/** Connects to a QMP socket and negotiates. Raises Problem unavailable when nobody answers there. */
export async function connectMonitor(path: string): Promise<Monitor> {
  const socket = createConnection(path);
  const waiting = new Map<number, Waiting>();
  const listeners = new Set<(event: MonitorEvent) => void>();
  let next = 1;
  let text = '';
  let over = false;
  let greet: () => void = () => {};
  const greeted = new Promise<void>((resolve) => {
    greet = resolve;
  });
  const closed = new Promise<void>((resolve) => {
    socket.once('close', () => {
      over = true;
      for (const { command, timer, reject } of waiting.values()) {
        clearTimeout(timer);
        reject(new Problem('unavailable', `QEMU ended the connection during ${command}`));
      }
      waiting.clear();
      resolve();
    });
  });
  const take = (line: string) => {
    const frame = JSON.parse(line) as {
      QMP?: object;
      event?: string;
      data?: object;
      timestamp?: { seconds: number; microseconds: number };
      id?: number;
      return?: unknown;
      error?: { class: string; desc: string };
    };
    if (frame.QMP !== undefined) return greet();
    if (frame.event !== undefined) {
      const { seconds, microseconds } = frame.timestamp ?? { seconds: Date.now() / 1000, microseconds: 0 };
      const atMs = seconds * 1000 + microseconds / 1000;
      const event = { event: frame.event, data: (frame.data ?? {}) as Record<string, unknown>, atMs };
      for (const listener of listeners) listener(event);
      return;
    }
    const entry = waiting.get(frame.id ?? 0);
    if (entry === undefined) return;
    waiting.delete(frame.id ?? 0);
    clearTimeout(entry.timer);
    if (frame.error === undefined) entry.resolve(frame.return);
    else entry.reject(new Problem('internal', `QEMU: ${entry.command}: ${frame.error.desc}`, { facts: { class: frame.error.class } }));
  };
  socket.setEncoding('utf8').on('data', (piece: Buffer | string) => {
    text += piece;
    try {
      for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n')) {
        const line = text.slice(0, end).trim();
        text = text.slice(end + 1);
        if (line !== '') take(line);
      }
      if (text.length > lineLimit) socket.destroy();
    } catch {
      socket.destroy();
    }
  });
  socket.on('error', () => {});
  const run: Monitor['run'] = (command, args, timeoutMs = answerMs) =>
    new Promise((resolve, reject) => {
      if (over) return reject(new Problem('unavailable', `QEMU is gone; ${command} was not sent`));
      const id = next;
      next += 1;
      const timer = setTimeout(() => {
        waiting.delete(id);
        reject(new Problem('unavailable', `QEMU did not answer ${command} within ${timeoutMs / 1000} s`));
      }, timeoutMs);
      waiting.set(id, { command, timer, resolve, reject });
      socket.write(`${JSON.stringify({ execute: command, ...(args === undefined ? {} : { arguments: args }), id })}\n`);
    });
  await awaitConnection(socket, path, greeted);
  await run('qmp_capabilities', undefined, 10_000);
  return {
    run,
    onEvent: (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    closed,
    close: () => socket.destroy(),
  };
}

async function awaitConnection(socket: Socket, path: string, greeted: Promise<void>): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const fail = (why: string) => {
      socket.destroy();
      reject(new Problem('unavailable', `no QEMU answers at ${path}: ${why}`));
    };
    const timer = setTimeout(() => fail('no greeting within 10 s'), 10_000);
    socket.once('error', (error) => fail(error.message));
    socket.once('close', () => fail('the connection was closed'));
    void greeted.then(() => {
      clearTimeout(timer);
      resolve();
    });
  });
}
