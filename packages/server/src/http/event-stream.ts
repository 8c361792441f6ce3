import type { ServerResponse } from 'node:http';
import type { FeedEntry } from '../resources/feed.js';
import type { Watcher } from '../resources/feed-hub.js';
import { type FeedPosition, textFromPosition } from '../resources/feed-position.js';

/** An entry as text/event-stream, without its id; undefined when nothing of it is to be shown. Made once, however many watch. */
export type FrameOf = (entry: FeedEntry) => Promise<string | undefined>;

export interface EventStreamOptions {
  readonly response: ServerResponse;
  readonly wants: (entry: FeedEntry) => boolean;
  readonly frameOf: FrameOf;
  /** Bytes that may wait for a slow client before it is cut. */
  readonly bufferBytes: number;
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
export function createEventStream({ response, wants, frameOf, bufferBytes }: EventStreamOptions, from: FeedPosition): EventStream {
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
  }

  async function write(entries: readonly FeedEntry[]): Promise<void> {
    for (const entry of entries) {
      if (ended) return;
      const frame = wants(entry) ? await frameOf(entry) : undefined;
      if (ended) return;
      if (frame !== undefined && response.writableLength > bufferBytes) return cut('too-slow');
      reached = entry.position;
      if (frame === undefined) continue;
      response.write(`id: ${textFromPosition(reached)}\n${frame}`);
      told = reached;
    }
  }

  return {
    watcher: {
      push(entries) {
        // Entries wait in memory while earlier ones are made into frames: bounded like the bytes.
        if (waiting > 10_000) cut('too-slow');
        if (ended) return false;
        waiting += entries.length;
        writing = writing
          .then(() => write(entries))
          .catch(() => cut('failed'))
          .finally(() => {
            waiting -= entries.length;
          });
        return true;
      },
      async drained() {
        await writing;
        if (response.writableNeedDrain && !ended) {
          await new Promise<void>((resolve) => {
            response.once('drain', resolve);
            response.once('close', resolve);
          });
        }
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
