import type { Log, WorkQueue } from '@virt8ra/engine';
import type { FeedEntry } from '../resources/feed.js';
import type { FeedHub, Watcher } from '../resources/feed-hub.js';
import type { Interest } from './interest.js';

/** Has the work of a webhook begun when there is something for it. Costs nothing while there are no webhooks. */
export interface Bell {
  /** From when this resolves, changes that are wanted ring, for as long as `listenMs`. */
  listen(uid: string, interest: Interest): Promise<void>;
  stop(): void;
}

/** Longer than two looks of a webhook that nobody rings for. */
const listenMs = 90_000;
/** A burst rings once at its beginning, and once in so long after that. */
const restMs = 250;

interface Ear {
  interest: Interest;
  until: number;
  rungAt: number;
  later?: NodeJS.Timeout;
}

export const webhookWork = 'webhook-delivery';

export function createBell({
  hub,
  queue,
  log,
}: {
  readonly hub: FeedHub;
  readonly queue: Pick<WorkQueue, 'nudge'>;
  readonly log: Log;
}): Bell {
  const ears = new Map<string, Ear>();
  let watching: Promise<() => void> | undefined;
  let stopped = false;

  function ring(uid: string, ear: Ear): void {
    if (ear.later !== undefined) return;
    const since = performance.now() - ear.rungAt;
    if (since < restMs) {
      ear.later = setTimeout(() => {
        delete ear.later;
        ring(uid, ear);
      }, restMs - since);
      return;
    }
    ear.rungAt = performance.now();
    queue
      .nudge(`${webhookWork}/${uid}`)
      .catch((error: unknown) => log.warn('a webhook could not be woken', { webhook: uid, error: String(error) }));
  }

  const hear = (entries: readonly FeedEntry[]): boolean => {
    for (const [uid, ear] of ears) {
      if (ear.until < performance.now()) forget(uid, ear);
      else if (entries.some((entry) => ear.interest.wants(entry))) ring(uid, ear);
    }
    if (ears.size > 0 && !stopped) return true;
    watching = undefined;
    return false;
  };

  function forget(uid: string, ear: Ear): void {
    clearTimeout(ear.later);
    ears.delete(uid);
  }

  const watcher: Watcher = {
    push: hear,
    fill: async (entries) => hear(entries),
    end() {
      watching = undefined;
      // What was missed is found when they look.
      if (!stopped) for (const [uid, ear] of ears) ring(uid, ear);
    },
  };

  return {
    async listen(uid, interest) {
      const ear = ears.get(uid);
      if (ear === undefined) ears.set(uid, { interest, until: performance.now() + listenMs, rungAt: Number.NEGATIVE_INFINITY });
      else Object.assign(ear, { interest, until: performance.now() + listenMs });
      watching ??= hub
        .watch(undefined, () => watcher)
        .catch((error: unknown) => {
          watching = undefined;
          throw error;
        });
      await watching;
    },
    stop() {
      stopped = true;
      for (const [uid, ear] of ears) forget(uid, ear);
    },
  };
}
