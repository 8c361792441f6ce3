import { Problem } from '@virt8ra/contract';
import type { Log } from '@virt8ra/engine';
import type { Pool, PoolClient } from 'pg';
import { assertOnFeed, type FeedEntry, feedEnd, readFeed } from './feed.js';
import { feedChannel } from './feed-bell.js';
import { comparePositions, type FeedPosition } from './feed-position.js';

export interface Watcher {
  /** Entries in order, each once. False: this watcher takes no more (it has left, or is too slow). */
  push(entries: readonly FeedEntry[]): boolean;
  /** The same while it catches up: resolves when it can take more, so that a long past is read no faster than the client reads. */
  fill(entries: readonly FeedEntry[]): Promise<boolean>;
  /** The hub gives this watcher nothing any more; what it got last is where it may resume. */
  end(why: 'stopping' | 'lost'): void;
}

/** The one reader of the feed in this process; however many watch, the database is asked once. */
export interface FeedHub {
  /**
   * Joins behind `since`, or now. `open` is called once, with where it begins, when nothing that commits from then on can be missed.
   * Answers how to leave. Raises `precondition-failed` for a cursor that is too old, `unavailable` when the hub is stopped.
   */
  watch(since: FeedPosition | undefined, open: (from: FeedPosition) => Watcher): Promise<() => void>;
  /** Where everybody who is live stands. */
  readonly reached: FeedPosition | undefined;
  /** Ends every watcher. */
  stop(): void;
}

export interface FeedHubOptions {
  readonly pool: Pool;
  readonly log: Log;
  /** Longest time between two looks at the feed, for a ring of the bell that was lost. Default 1000. */
  readonly lookMs?: number;
  /** Entries read at once. Default 500. */
  readonly batch?: number;
}

/** Between looks while a written change waits for an older transaction to end. */
const pendingMs = 20;
const longestPendingMs = 250;

export function createFeedHub(options: FeedHubOptions): FeedHub {
  const { pool, log, lookMs = 1000, batch = 500 } = options;
  const watchers = new Set<Watcher>();
  /** Those who stand at `reached`. */
  const live = new Map<Watcher, FeedPosition>();
  /** Everything up to here was given to those who are live. Undefined while nobody watches. */
  let reached: FeedPosition | undefined;
  let listener: PoolClient | undefined;
  let stopped = false;
  let looping = false;
  let rung = false;
  let wake = (): void => {};

  async function listen(): Promise<void> {
    if (listener !== undefined) return;
    const client = await pool.connect();
    const onLoss = (): void => {
      if (listener !== client) return;
      listener = undefined;
      client.release(true);
    };
    listener = client;
    client.on('notification', () => {
      rung = true;
      wake();
    });
    client.on('error', onLoss);
    client.on('end', onLoss);
    await client.query(`listen ${feedChannel}`);
  }

  async function loop(): Promise<void> {
    let waits = 0;
    while (live.size > 0 && !stopped) {
      rung = false;
      try {
        await listen();
        const from = reached ?? (await feedEnd(pool));
        const { entries, pending } = await readFeed(pool, from, batch);
        reached = entries.at(-1)?.position ?? from;
        for (const [watcher, joined] of live) hand(watcher, joined, entries);
        if (entries.length > 0) {
          waits = 0;
          if (!pending) continue;
          // So far behind that the feed may have been cut in between.
          await assertOnFeed(pool, from);
          continue;
        }
        waits = pending ? waits + 1 : 0;
      } catch (error) {
        waits = 0;
        if (error instanceof Problem && error.kind === 'precondition-failed') for (const watcher of live.keys()) drop(watcher, 'lost');
        log.warn('the change feed could not be read', { error: String(error) });
      }
      await pause(waits === 0 ? lookMs : Math.min(longestPendingMs, pendingMs * waits));
    }
  }

  async function pause(milliseconds: number): Promise<void> {
    if (rung || stopped) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, milliseconds);
      wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  function start(): void {
    if (looping) return;
    looping = true;
    void loop().finally(() => {
      looping = false;
      // Somebody may have come while the loop was ending.
      if (live.size > 0 && !stopped) start();
      else rest();
    });
  }

  function rest(): void {
    reached = undefined;
    const held = listener;
    listener = undefined;
    held?.release(true);
  }

  function hand(watcher: Watcher, joined: FeedPosition, entries: readonly FeedEntry[]): void {
    const later = entries.filter((entry) => comparePositions(entry.position, joined) > 0);
    if (later.length > 0 && !watcher.push(later)) forget(watcher);
  }

  function forget(watcher: Watcher): void {
    watchers.delete(watcher);
    live.delete(watcher);
    if (live.size === 0) wake();
  }

  function drop(watcher: Watcher, why: 'stopping' | 'lost'): void {
    forget(watcher);
    watcher.end(why);
  }

  /** Reads on alone until it stands where the shared reader stands; from then on it is live. */
  async function catchUp(from: FeedPosition, watcher: Watcher): Promise<void> {
    let at = from;
    while (watchers.has(watcher)) {
      if (reached === undefined) {
        const end = await feedEnd(pool);
        reached ??= end;
        continue;
      }
      const target = reached;
      // Between this comparison and joining nothing else runs, so that no entry falls between.
      if (comparePositions(at, target) >= 0) {
        live.set(watcher, at);
        return start();
      }
      const { entries } = await readFeed(pool, at, batch);
      await assertOnFeed(pool, at);
      // Everything up to `target` is final: nothing read means that nothing is there.
      at = entries.at(-1)?.position ?? target;
      if (entries.length > 0 && watchers.has(watcher)) {
        if (!(await watcher.fill(entries))) return forget(watcher);
      }
    }
  }

  return {
    async watch(since, open) {
      if (since !== undefined) await assertOnFeed(pool, since);
      const from = since ?? (await feedEnd(pool));
      if (stopped) throw new Problem('unavailable', 'this server is stopping; connect again', { retryAfterSeconds: 1 });
      const watcher = open(from);
      watchers.add(watcher);
      catchUp(from, watcher).catch((error: unknown) => {
        log.warn('a watcher could not catch up with the change feed', { error: String(error) });
        if (watchers.has(watcher)) drop(watcher, 'lost');
      });
      return () => forget(watcher);
    },
    get reached() {
      return reached;
    },
    stop() {
      stopped = true;
      for (const watcher of watchers) drop(watcher, 'stopping');
      wake();
      if (!looping) rest();
    },
  };
}
