/** Where the engine is about to do something that may go wrong. */
export interface Interception {
  readonly runId: string;
  readonly step: string;
  readonly act: 'step' | 'wait' | 'commit' | 'undo';
  /** 1 for the first time. */
  readonly attempt: number;
}

/** Stands between the engine and every act of a workflow; `torture()` plants its faults here. It returns what the act returned, or throws. */
export type Interposer = (interception: Interception, act: () => Promise<unknown>) => Promise<unknown>;
