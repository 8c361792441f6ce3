import type { GuestSample, MoveActual, MoveForecast, PathLook } from '@virt8ra/contract';

/** A figure with whom it is from and when. */
export interface Measured {
  readonly value: number;
  readonly source: string;
  readonly observedAt: string;
}

/** What was forecast for a move that is done, and what it took. */
export interface EarlierMove {
  readonly forecast: MoveForecast;
  readonly actual: MoveActual;
}

/** What the control plane has measured that a move depends on. Nothing here asks a host, but `measurePath`. */
export interface MoveMeasures {
  /** What was seen of a path, newest first. */
  path(from: string, to: string): Promise<readonly PathLook[]>;
  /** Has a path measured now, within seconds. Answers why that was not possible. */
  measurePath(from: string, to: string): Promise<string | undefined>;
  /** The most that a host was seen to carry to anywhere within a week. */
  mostCarried(host: string): Promise<Measured | undefined>;
  /** The newest look at a guest; undefined when there is none within a minute. */
  guest(host: string, key: string): Promise<(GuestSample & { readonly at: string }) | undefined>;
  /** Seconds by which hosts' clocks are ahead of the control plane's, of those that told. */
  clockOffsets(hosts: readonly string[]): Promise<ReadonlyMap<string, number>>;
  /** Moves of a mode between two hosts that had a forecast and are done, newest first. */
  earlier(from: string, to: string, mode: string): Promise<readonly EarlierMove[]>;
}
