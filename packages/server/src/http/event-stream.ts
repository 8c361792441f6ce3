import type { ServerResponse } from 'node:http';
import type { FeedEntry } from '../resources/feed.js';
import type { Watcher } from '../resources/feed-hub.js';
import { type FeedPosition, textFromPosition } from '../resources/feed-position.js';
import type { StreamMemory } from './stream-memory.js';

/** An entry as text/event-stream, with its id; undefined when nothing of it is to be shown. Made once, however many watch. */
export type FrameOf = (entry: FeedEntry) => Promise<Buffer | undefined>;

export interface EventStreamOptions {
  readonly response: ServerResponse;
  readonly wants: (entry: FeedEntry) => Promise<boolean>;
  readonly frameOf: FrameOf;
  /** What may wait for a slow client before it is cut. */
  readonly memory: StreamMemory;
}

export interface EventStream {
  readonly watcher: Watcher;
  /** Keeps the connection and the client's cursor alive. */
  beat(): void;
  /** Tells the client where to resume, and ends. */
  cut(reason: string): void;
}

/**
 * One client of the feed. Frames are written in order as they are made; the cursor moves with every entry, wanted or not, so that a client
 * that sees nothing can still resume near the end.
 */
export function createEventStream({ response, wants, frameOf, memory }: EventStreamOptions, from: FeedPosition): EventStream {
  let reached = from;
  let told: FeedPosition | undefined;
  let ended = false;
  let waiting = 0;
  let writing: Promise<void> = Promise.resolve();

  function cut(reason: string): void {
    if (ended) return;
    ended = true;
    response.end(
      `id: ${textFromPosition(reached)}\nevent: cut\ndata: ${JSON.stringify({ reason, cursor: textFromPosition(reached) })}\n\n`,
    );
    // A client that does not even read this is not waited for.
    const timer = setTimeout(() => response.destroy(), reason === 'stopping' ? stopGraceMs : cutGraceMs);
    timer.unref();
    response.once('close', () => clearTimeout(timer));
  }

  async function write(entries: readonly FeedEntry[], patient: boolean): Promise<void> {
    for (const entry of entries) {
      const frame = (await wants(entry)) ? await frameOf(entry) : undefined;
      if (frame !== undefined && memory.isTooMuch(response)) {
        if (!patient) cut('too-slow');
        else await drained(response);
      }
      if (ended || response.destroyed) return;
      reached = entry.position;
      if (frame === undefined) continue;
      memory.write(response, frame);
      told = reached;
    }
  }

  async function enqueue(entries: readonly FeedEntry[], patient: boolean): Promise<void> {
    waiting += entries.length;
    writing = writing
      .then(() => write(entries, patient))
      .catch(() => cut('failed'))
      .finally(() => {
        waiting -= entries.length;
      });
    await writing;
  }

  return {
    watcher: {
      push(entries) {
        // Entries wait in memory while earlier ones are made into frames: bounded like the bytes.
        if (waiting > mostWaiting) cut('too-slow');
        if (ended) return false;
        void enqueue(entries, false);
        return true;
      },
      async fill(entries) {
        await enqueue(entries, true);
        return !ended;
      },
      end: (why) => cut(why),
    },
    beat() {
      if (ended) return;
      const moved = reached !== told;
      told = reached;
      response.write(moved ? `: beat\nid: ${textFromPosition(reached)}\n\n` : ': beat\n\n');
    },
    cut,
  };
}

const mostWaiting = 10_000;
const cutGraceMs = 30_000;
const stopGraceMs = 2000;

async function drained(response: ServerResponse): Promise<void> {
  if (!response.writableNeedDrain) return;
  await new Promise<void>((resolve) => {
    const settle = (): void => {
      response.off('drain', settle);
      response.off('close', settle);
      resolve();
    };
    response.once('drain', settle);
    response.once('close', settle);
  });
}
