import type { GuestSample } from '@virt8ra/contract';

/** What is asked of a running guest, by the keys of its volumes. */
export interface WatchedChanges {
  begin(): Promise<void>;
  count(): Promise<ReadonlyMap<string, number>>;
  end(): Promise<void>;
  beginMemory(): Promise<void>;
  memoryPerSecond(): Promise<number | undefined>;
}

export type ChangeFigures = Pick<GuestSample, 'changes' | 'memoryChangedPerSecond'>;

/** Two looks at one record: the second is at least so long after its beginning as the first, and so say whether the guest writes to the same places. */
const looksAtRecord = 2;

/**
 * Looks now and then at what a guest changes: a record of its disks is begun, looked at twice, and taken away. Between them the last figures stand,
 * with the time they are from. What cannot be asked leaves no figures, and no record.
 */
export class ChangeLooks {
  readonly #clock: () => number;
  #record:
    | { readonly since: number; readonly looks: { readonly seconds: number; readonly bytes: ReadonlyMap<string, number> }[] }
    | undefined;
  #memoryAsked = false;
  #figures: ChangeFigures = {};

  constructor(clock: () => number) {
    this.#clock = clock;
  }

  get figures(): ChangeFigures {
    return this.#figures;
  }

  /** `turn`: it is this guest's turn to be looked at anew. `writes`: it has written since its last turn. `busy`: its disks are being moved. */
  async look(
    guest: WatchedChanges,
    { turn, writes, busy }: { readonly turn: boolean; readonly writes: boolean; readonly busy: boolean },
  ): Promise<void> {
    try {
      await this.#lookAtMemory(guest, turn && !busy);
      if (busy) await this.#stop(guest);
      else if (this.#record !== undefined) await this.#lookAtRecord(guest);
      else if (turn) await this.#begin(guest, writes);
    } catch {
      this.#record = undefined;
      await guest.end().catch(() => undefined);
    }
  }

  async #begin(guest: WatchedChanges, writes: boolean): Promise<void> {
    // Who writes nothing needs no record to know what changed.
    if (!writes) {
      this.#figures = { ...this.#figures, changes: { at: new Date().toISOString(), disks: [] } };
      return;
    }
    await guest.begin();
    this.#record = { since: this.#clock(), looks: [] };
  }

  async #lookAtRecord(guest: WatchedChanges): Promise<void> {
    const record = this.#record;
    if (record === undefined) return;
    record.looks.push({ bytes: await guest.count(), seconds: rounded((this.#clock() - record.since) / 1000) });
    if (record.looks.length < looksAtRecord) return;
    await this.#stop(guest);
    const keys = new Set(record.looks.flatMap(({ bytes }) => [...bytes.keys()]));
    const disks = [...keys].map((key) => ({
      key,
      looks: record.looks.flatMap(({ seconds, bytes }) => {
        const changed = bytes.get(key);
        return changed === undefined || seconds <= 0 ? [] : [{ seconds, bytes: changed }];
      }),
    }));
    this.#figures = { ...this.#figures, changes: { at: new Date().toISOString(), disks } };
  }

  async #stop(guest: WatchedChanges): Promise<void> {
    if (this.#record === undefined) return;
    this.#record = undefined;
    await guest.end();
  }

  async #lookAtMemory(guest: WatchedChanges, turn: boolean): Promise<void> {
    if (this.#memoryAsked) {
      const { memoryChangedPerSecond: _, ...others } = this.#figures;
      const rate = await guest.memoryPerSecond();
      this.#figures = rate === undefined ? others : { ...others, memoryChangedPerSecond: rate };
    }
    this.#memoryAsked = turn;
    if (turn) await guest.beginMemory();
  }
}

function rounded(value: number): number {
  return Math.round(value * 1000) / 1000;
}
