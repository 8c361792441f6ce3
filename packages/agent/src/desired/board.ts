import { isDeepStrictEqual } from 'node:util';
import type { HostObjectType, ObservedByType } from '@virt8ra/contract';
import { type HostObject, objectFromId, objectId } from './host-object.js';

export interface BoardChange {
  readonly object: HostObject;
  readonly kind: 'state' | 'detail' | 'removed';
}

/** What this host saw last of each of its objects. Reconcilers write, the link and other reconcilers read. */
export class Board {
  readonly #entries = new Map<string, ObservedByType[HostObjectType]>();
  readonly #listeners = new Set<(change: BoardChange) => void>();

  get<Type extends HostObjectType>(type: Type, key: string): ObservedByType[Type] | undefined {
    return this.#entries.get(objectId({ type, key })) as ObservedByType[Type] | undefined;
  }

  all<Type extends HostObjectType>(type: Type): ObservedByType[Type][] {
    const prefix = `${type}/`;
    return [...this.#entries].filter(([id]) => id.startsWith(prefix)).map(([, entry]) => entry as ObservedByType[Type]);
  }

  objects(): HostObject[] {
    return [...this.#entries.keys()].map(objectFromId);
  }

  /** Records an observation; listeners hear of it only when something in it changed. */
  post<Type extends HostObjectType>(type: Type, key: string, observed: ObservedByType[Type]): void {
    const id = objectId({ type, key });
    const before = this.#entries.get(id);
    if (before !== undefined && isDeepStrictEqual(before, observed)) return;
    this.#entries.set(id, observed);
    this.#tell({ object: { type, key }, kind: before?.state === observed.state ? 'detail' : 'state' });
  }

  /** The object is positively gone from this host. */
  remove(object: HostObject): void {
    if (this.#entries.delete(objectId(object))) this.#tell({ object, kind: 'removed' });
  }

  /** Calls back at every change; answers how to stop it. */
  watch(listener: (change: BoardChange) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #tell(change: BoardChange): void {
    for (const listener of this.#listeners) listener(change);
  }
}
