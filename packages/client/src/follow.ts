import {
  type Address,
  type Kind,
  Problem,
  type Progress,
  type Resource,
  type ResourceOf,
  toProblem,
  urnFromAddress,
} from '@virt8ra/contract';
import type { Feed, FeedOptions } from './feed.js';
import { rest } from './transport.js';

/** What is known of a resource at a moment; `resource` is undefined only after a positive not-found or its deletion on the feed. */
export interface Sighting<Seen extends Resource = Resource> {
  readonly resource: Seen | undefined;
  /** Newest progress of its work, when there is any. */
  readonly progress: Progress | undefined;
}

/** What a client has that following needs. */
export interface FollowSource {
  find(kind: Kind, address: Address, signal?: AbortSignal): Promise<Resource | undefined>;
  events(options: FeedOptions): Promise<Feed>;
}

export interface FollowOptions {
  readonly signal?: AbortSignal | undefined;
  /** Seconds between reads besides the feed, so that a missed event delays and never hangs. Default 5. */
  readonly pollSeconds?: number;
  /** Called when the feed was cut and when it is back. */
  readonly onCut?: (problem: Problem) => void;
  readonly onResume?: () => void;
}

/**
 * Tells a resource now and at every change. The feed is opened before the first read, so that nothing falls between. Without a feed
 * (forbidden, or none on this server) it polls. Ends when the consumer stops; raises `cancelled` when the signal fires.
 */
export async function* followResource<K extends Kind>(
  client: FollowSource,
  kind: K,
  address: Address,
  options: FollowOptions = {},
): AsyncGenerator<Sighting<ResourceOf<K>>> {
  const stop = new AbortController();
  const signal = options.signal === undefined ? stop.signal : AbortSignal.any([stop.signal, options.signal]);
  const ref = urnFromAddress(kind, address);
  const pollMs = (options.pollSeconds ?? 5) * 1000;
  const feed = await feedOrNothing(client, kind, address, options, signal);
  let news: { resource?: Resource; progress?: Progress; deleted?: boolean; read?: boolean } = { read: true };
  let wake = () => {};
  const announce = (next: typeof news) => {
    news = { ...news, ...next };
    wake();
  };
  const listening = feed === undefined ? Promise.resolve() : listen(feed, ref, announce);
  let failure: Problem | undefined;
  listening.catch((error: unknown) => {
    failure = toProblem(error);
    wake();
  });

  let resource: Resource | undefined;
  let progress: Progress | undefined;
  try {
    for (;;) {
      const current = news;
      news = {};
      progress = current.progress ?? progress;
      if (current.deleted === true) resource = undefined;
      else if (current.resource !== undefined) resource = current.resource;
      else if (current.read === true) resource = await client.find(kind, address, signal);
      // What the feed and the server tell of this reference is of this kind.
      yield { resource: resource as ResourceOf<K> | undefined, progress };
      if (failure !== undefined) throw failure;
      const poll = new AbortController();
      const woken = new Promise<void>((resolve) => {
        wake = resolve;
        if (Object.keys(news).length > 0) resolve();
      });
      const timer = rest(feed === undefined ? Math.min(pollMs, 1000) : pollMs, AbortSignal.any([poll.signal, signal])).then(
        () => announce({ read: true }),
        () => undefined,
      );
      await Promise.race([woken, timer]);
      poll.abort();
      if (options.signal?.aborted === true) throw new Problem('cancelled', 'interrupted');
    }
  } finally {
    stop.abort();
    feed?.close();
  }
}

/** Nothing when this server or this caller has no feed. While the server is away it is waited for as long as the client's patience lasts. */
async function feedOrNothing(
  client: FollowSource,
  kind: Kind,
  address: Address,
  options: FollowOptions,
  signal: AbortSignal,
): Promise<Feed | undefined> {
  for (let attempt = 0; attempt < openAttempts; attempt += 1) {
    try {
      return await client.events({
        tenant: address.tenant ?? '-',
        kinds: [kind.kind],
        signal,
        ...(options.onCut === undefined ? {} : { onCut: options.onCut }),
        onResume: () => options.onResume?.(),
      });
    } catch (error) {
      if (!(error instanceof Problem) || error.kind === 'cancelled') throw error;
      if (error.retry === 'never') return undefined;
      // A read is repeated until the server is back; the feed is not.
      await client.find(kind, address, signal);
    }
  }
  return undefined;
}

const openAttempts = 5;

async function listen(
  feed: Feed,
  ref: string,
  announce: (next: { resource?: Resource; progress?: Progress; deleted?: boolean; read?: boolean }) => void,
): Promise<void> {
  for await (const event of feed) {
    if (event.ref !== ref) continue;
    const progress = event.progress === undefined ? {} : { progress: event.progress };
    if (event.type === 'deleted') announce({ ...progress, deleted: true });
    else if (event.resource !== undefined) announce({ ...progress, resource: event.resource, deleted: false });
    else if (event.type === 'progress') announce(progress);
    else announce({ ...progress, read: true });
  }
}
