import type { IncomingMessage } from 'node:http';
import { Problem, type Progress, type Resource } from '@virt8ra/contract';
import { createEventStreamParser, type StreamMessage } from './event-stream.js';
import { faultOf, problemFromConnection } from './exchange.js';
import { pauseMs, rest, type Transport } from './transport.js';

/** One change, as the change feed tells it. `cursor` resumes after it. */
export interface FeedEvent {
  readonly cursor: string;
  /** `put`, `status`, `deleted`, `progress`, `placement`; others may be added, so that callers must let strangers pass. */
  readonly type: string;
  readonly kind: string;
  /** URN of the resource. */
  readonly ref: string;
  readonly resource?: Resource;
  readonly progress?: Progress;
}

export interface FeedOptions {
  /** `-` for a caller without a tenant. */
  readonly tenant: string;
  /** Names of kinds; none means all. */
  readonly kinds?: readonly string[];
  /** Label selector. */
  readonly labels?: string;
  /** Cursor of an earlier event; absent means from now on. */
  readonly since?: string;
  readonly signal?: AbortSignal | undefined;
  /** Seconds without an octet after which the stream is taken for dead and opened again. Default 60. */
  readonly idleSeconds?: number;
  /** Seconds without a connection after which the feed gives up. Default 300. */
  readonly patienceSeconds?: number;
  /** Called when the stream was cut, before it is opened again. */
  readonly onCut?: (problem: Problem) => void;
  /** Called when it is open again. Without a cursor (nothing was seen before the cut) events may have passed unseen. */
  readonly onResume?: (cursor: string | undefined) => void;
}

/** Iterable once. Ends at `close()` or when the signal fires; raises the server's problem when it refuses. */
export interface Feed extends AsyncIterable<FeedEvent> {
  readonly cursor: string | undefined;
  close(): void;
}

const path = 'providers/virt8ra.events/v1beta1/tenants';

/**
 * Opens the change feed. Resolves when the server has accepted, so that what is read afterwards cannot miss a change.
 * A cut stream is opened again from the last cursor: no event is lost or repeated.
 */
export async function openFeed(transport: Transport, options: FeedOptions): Promise<Feed> {
  const stop = new AbortController();
  const signal = options.signal === undefined ? stop.signal : AbortSignal.any([stop.signal, options.signal]);
  const idleSeconds = options.idleSeconds ?? 60;
  let cursor = options.since;

  const connect = () =>
    transport.open(
      {
        method: 'GET',
        path: `${path}/${encodeURIComponent(options.tenant)}/events`,
        query: { kinds: options.kinds?.length ? options.kinds.join(',') : undefined, labels: options.labels },
        headers: { accept: 'text/event-stream', ...(cursor === undefined ? {} : { 'last-event-id': cursor }) },
        signal,
      },
      idleSeconds,
    );

  const reconnect = async (): Promise<IncomingMessage> => {
    const deadline = Date.now() + (options.patienceSeconds ?? 300) * 1000;
    for (let attempt = 0; ; attempt += 1) {
      await rest(pauseMs(attempt), signal);
      try {
        const message = await connect();
        options.onResume?.(cursor);
        return message;
      } catch (error) {
        if (!(error instanceof Problem) || error.retry === 'never' || Date.now() > deadline) throw error;
      }
    }
  };

  let message = await connect();

  async function* events(): AsyncGenerator<FeedEvent> {
    try {
      for (;;) {
        const parser = createEventStreamParser(cursor);
        try {
          for await (const octets of message) {
            for (const part of parser.push(octets as Uint8Array)) {
              const event = eventFromMessage(part);
              cursor = part.id ?? cursor;
              if (event !== undefined) yield event;
            }
            cursor = parser.lastId ?? cursor;
          }
          throw Object.assign(new Error('the stream ended'), { code: 'ECONNRESET' });
        } catch (error) {
          if (signal.aborted) return;
          const problem = problemFromConnection(error, { url: new URL(transport.server), signal });
          if (faultOf(problem) === undefined) throw problem;
          options.onCut?.(problem);
        }
        message = await reconnect();
      }
    } catch (error) {
      if (!signal.aborted) throw error;
    } finally {
      message.destroy();
    }
  }

  const iterator = events();
  return {
    [Symbol.asyncIterator]: () => iterator,
    get cursor() {
      return cursor;
    },
    close() {
      stop.abort();
      message.destroy();
    },
  };
}

function eventFromMessage(message: StreamMessage): FeedEvent | undefined {
  let fields: unknown;
  try {
    fields = JSON.parse(message.data);
  } catch {
    return undefined;
  }
  if (typeof fields !== 'object' || fields === null) return undefined;
  const { type, kind, ref, resource, progress } = fields as Partial<FeedEvent>;
  if (typeof kind !== 'string' || typeof ref !== 'string') return undefined;
  return {
    cursor: message.id ?? '',
    type: type ?? message.event,
    kind,
    ref,
    ...(resource === undefined ? {} : { resource }),
    ...(progress === undefined ? {} : { progress }),
  };
}
