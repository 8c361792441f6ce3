import type { AgentMessage, AgentMessageOf, HostObjectType, ObservedByType } from '@virt8ra/contract';
import type { Board } from '../desired/board.js';
import { type HostObject, objectFromId, objectId } from '../desired/host-object.js';

/** What is pushed through one connection, and how full it is. */
export interface Wire {
  send(message: AgentMessage): void;
  /** Bytes handed over and not yet on their way. */
  bufferedBytes(): number;
}

export type Progress = Omit<AgentMessageOf<'progress'>, 'type'>;

const detailPauseMs = 100;
const progressPauseMs = 1_000;
const fullBufferBytes = 2 * 1024 * 1024;

/**
 * What one connection owes the control plane: everything once, then what changed. Changes of state go at once, details together after
 * 100 ms, progress of a transfer once a second. A slow connection gets fewer frames, never stale ones: each is made when it is sent.
 */
export class Outbox {
  readonly #board: Board;
  readonly #generation: () => number;
  readonly #wire: Wire;
  readonly #changed = new Set<string>();
  readonly #removed = new Map<string, HostObject>();
  readonly #progress = new Map<string, Progress>();
  readonly #stopWatching: () => void;
  #full = true;
  #timer: NodeJS.Timeout | undefined;
  #timerIsDetail = false;
  #progressTimer: NodeJS.Timeout | undefined;

  constructor(board: Board, generation: () => number, wire: Wire) {
    this.#board = board;
    this.#generation = generation;
    this.#wire = wire;
    this.#stopWatching = board.watch((change) => {
      if (change.kind === 'removed') {
        this.#removed.set(objectId(change.object), change.object);
        this.#full = true;
      } else this.#changed.add(objectId(change.object));
      this.#schedule(change.kind === 'detail');
    });
    this.#flush();
  }

  /** A new desired state was taken over: the control plane is told what that generation looks like as a whole. */
  announce(): void {
    this.#full = true;
    this.#schedule(false);
  }

  progress(progress: Progress): void {
    this.#progress.set(progress.transferId, progress);
    if (this.#progressTimer !== undefined) return;
    this.#flushProgress();
    this.#progressTimer = setTimeout(() => {
      this.#progressTimer = undefined;
      this.#flushProgress();
    }, progressPauseMs);
  }

  close(): void {
    this.#stopWatching();
    clearTimeout(this.#timer);
    clearTimeout(this.#progressTimer);
  }

  #schedule(detail: boolean): void {
    if (this.#timer !== undefined) {
      if (detail || !this.#timerIsDetail) return;
      clearTimeout(this.#timer);
    }
    this.#timerIsDetail = detail;
    this.#timer = setTimeout(
      () => {
        this.#timer = undefined;
        this.#flush();
      },
      detail ? detailPauseMs : 0,
    );
  }

  #flush(): void {
    if (this.#wire.bufferedBytes() > fullBufferBytes) {
      this.#schedule(true);
      return;
    }
    const ids = this.#full ? this.#board.objects().map(objectId) : [...this.#changed];
    const of = <Type extends HostObjectType>(type: Type): ObservedByType[Type][] =>
      ids
        .map(objectFromId)
        .filter((object) => object.type === type)
        .map((object) => this.#board.get(type, object.key))
        .filter((entry) => entry !== undefined);
    this.#wire.send({
      type: 'observed',
      at: new Date().toISOString(),
      generation: this.#generation(),
      full: this.#full,
      networks: of('network'),
      volumes: of('volume'),
      instances: of('instance'),
      transfers: of('transfer'),
      filters: of('filter'),
      ...whereThereAreAny('backups', of('backup')),
      ...whereThereAreAny('snapshots', of('snapshot')),
      removed: [...this.#removed.values()].map(({ type, key }) => ({ type, key })),
    });
    this.#changed.clear();
    this.#removed.clear();
    this.#full = false;
  }

  #flushProgress(): void {
    for (const progress of this.#progress.values()) this.#wire.send({ type: 'progress', ...progress });
    this.#progress.clear();
  }
}

/** Control planes that never ask for such objects need not know that there are any. */
function whereThereAreAny<Name extends string, Entry>(name: Name, entries: Entry[]): Partial<Record<Name, Entry[]>> {
  return entries.length === 0 ? {} : ({ [name]: entries } as Record<Name, Entry[]>);
}
