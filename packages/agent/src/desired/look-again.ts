import type { DesiredState } from '@virt8ra/contract';
import type { Board, BoardChange } from './board.js';
import type { Converger } from './converger.js';
import { dependents, type Launched } from './dependents.js';
import { type HostObject, objectFromId, objectId } from './host-object.js';

/** States in which an object does nothing but wait; what for, no table could say for all of them. */
const waitingStates: readonly string[] = ['waiting', 'preparing', 'reverting'];

export interface LookWorld {
  readonly converger: Pick<Converger, 'nudge' | 'interrupt' | 'failing'>;
  readonly board: Pick<Board, 'objects' | 'get'>;
  /** What is desired now. */
  state(): DesiredState;
  /** Guests' processes that may be there. */
  launched(): readonly Launched[];
  /** Everything that is desired or here. */
  everything(): readonly HostObject[];
}

/**
 * Which objects are looked at when something changed: the object itself, what depends on it, and at every change whatever is not at rest, since it
 * may be waiting for just that: what waits, what failed (for memory or room, that any other may have given back), and what should go and is still here.
 */
export class LookAgain {
  readonly #world: LookWorld;
  #described: ReadonlyMap<string, string>;
  /** What depended on objects that are desired no more, until they are gone. */
  readonly #leaving = new Map<string, readonly HostObject[]>();

  constructor(world: LookWorld) {
    this.#world = world;
    this.#described = describe(world.state());
  }

  /** Another desired state was taken over, in the place of `before`. */
  accepted(before: DesiredState): void {
    const { converger, state, launched } = this.#world;
    const after = state();
    const described = describe(after);
    const wanted = this.#described;
    this.#described = described;
    const ids = new Set([...wanted.keys(), ...described.keys()]);
    const changed = [...ids].filter((id) => wanted.get(id) !== described.get(id));
    if (changed.length === 0 && before.maintenance === after.maintenance) return;
    const processes = launched();
    const nudged = new Map<string, HostObject>();
    for (const id of changed) {
      const object = objectFromId(id);
      for (const each of [...dependents(before, processes, object, 'desired'), ...dependents(after, processes, object, 'desired')])
        nudged.set(objectId(each), each);
      if (described.has(id)) this.#leaving.delete(id);
      else this.#leaving.set(id, dependents(before, processes, object, 'seen'));
    }
    for (const object of this.#restless()) nudged.set(objectId(object), object);
    for (const id of changed) converger.interrupt(objectFromId(id));
    for (const [id, object] of nudged) if (!changed.includes(id)) converger.nudge(object);
  }

  /** An object was seen in another state, or is gone. */
  seen({ object, kind }: BoardChange): void {
    if (kind === 'detail') return;
    const { converger, state, launched } = this.#world;
    const id = objectId(object);
    const nudged = [
      ...dependents(state(), launched(), object, 'seen'),
      ...(this.#leaving.get(id) ?? []),
      ...this.#restless().filter((each) => objectId(each) !== id),
    ];
    if (kind === 'removed') this.#leaving.delete(id);
    for (const each of new Map(nudged.map((one) => [objectId(one), one])).values()) converger.nudge(each);
  }

  #restless(): HostObject[] {
    const { board, converger, everything } = this.#world;
    const failing = new Set(converger.failing().map(objectId));
    return everything().filter((object) => {
      const id = objectId(object);
      const { type, key } = object;
      return failing.has(id) || !this.#described.has(id) || waitingStates.includes(board.get(type, key)?.state ?? 'waiting');
    });
  }
}

/** Each object's desired state as text, to see which of them a new state changes. */
function describe(state: DesiredState): Map<string, string> {
  const text = (type: HostObject['type'], key: string, object: object): [string, string] => [
    objectId({ type, key }),
    JSON.stringify(object),
  ];
  return new Map([
    ...state.networks.map((each) => text('network', each.key, each)),
    ...state.volumes.map((each) => text('volume', each.key, each)),
    ...state.instances.map((each) => text('instance', each.key, each)),
    ...state.transfers.map((each) => text('transfer', each.id, each)),
    ...(state.filters ?? []).map((each) => text('filter', each.key, each)),
    ...(state.backups ?? []).map((each) => text('backup', each.key, each)),
    ...(state.snapshots ?? []).map((each) => text('snapshot', each.key, each)),
  ]);
}
