import type { KindBehaviour } from '../kinds/behaviour.js';
import type { FeedEntry } from '../resources/feed.js';
import type { Present } from './presenter.js';

/** A change as it is told, on the feed and to receivers; undefined when nothing of it is to be shown. */
export type EventDocuments = (entry: FeedEntry) => Promise<object | undefined>;

export function createEventDocuments({
  behaviours,
  present,
}: {
  readonly behaviours: ReadonlyMap<string, KindBehaviour>;
  readonly present: Present;
}): EventDocuments {
  return async (entry) => {
    const behaviour = behaviours.get(entry.kind);
    if (behaviour === undefined) return undefined;
    // Facts computed at read time would be asked of what is gone.
    const shown = entry.type === 'deleted' ? { kind: behaviour.kind } : behaviour;
    const [resource] = entry.resource === undefined ? [] : await present(shown, [entry.resource], 'GET');
    const { type, kind, ref, progress } = entry;
    return { type, kind, ref, ...(resource === undefined ? {} : { resource }), ...(progress === undefined ? {} : { progress }) };
  };
}
