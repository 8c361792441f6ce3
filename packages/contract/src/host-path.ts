/** A figure with whom it is from and when, or that it is not known, why, and since when that is so. */
export type PathFigure =
  | { readonly value: number; readonly source: string; readonly observedAt: string }
  | { readonly value: 'unknown'; readonly reason: string; readonly source?: string; readonly observedAt?: string };

interface PathEnd {
  readonly host: string;
  readonly site: string;
}

/** What is known of how octets get from one host to another. */
export interface HostPath {
  readonly from: PathEnd;
  readonly to: PathEnd;
  /** Milliseconds. */
  readonly rttMs: PathFigure;
  /** What was carried, by a transfer or to measure it; more may go through. */
  readonly bytesPerSecond: PathFigure;
}

/** One time that something was carried, or could not be. */
export interface PathLook {
  readonly at: string;
  readonly source: 'transfer' | 'probe';
  readonly bytes?: number;
  readonly seconds?: number;
  readonly bytesPerSecond?: number;
  readonly rttMs?: number;
  readonly reason?: string;
}
