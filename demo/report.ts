/** What `--report` writes; `null` where a field does not apply. tools/verify-report.mjs judges it. */
export interface Report {
  readySeconds: number | null;
  sites: string[];
  guest: { bootSeconds: number; bootId: string; accelerator: string | null } | null;
  moves: MoveReport[];
  killed: KillReport | null;
  server: { rssMiB: number | null };
  agents: { site: string; rssMiB: number | null }[];
}

export interface MoveReport {
  readonly mode: 'live' | 'warm' | 'cold';
  /** The way back of the move before. */
  readonly way?: 'back';
  readonly from: string;
  readonly to: string;
  /** The longest time without an answer that the client saw. */
  readonly gapMs: number;
  /** Source guest stopped → last byte durable at the target, or in a live move → guest running there; null for a cold move. */
  readonly pauseMs: number | null;
  readonly bytes: number | null;
  readonly digestEqual: boolean;
  readonly sameBoot: boolean;
  readonly counterBefore: number;
  readonly counterAfter: number;
  /** Live: bytes that the guest wrote to its disks since it runs at the target, by the hypervisor's own count. */
  readonly writtenBytes?: number;
  /** Live, where the guest has an address of its own: one TCP connection was open all the while and went on. */
  readonly connectionSurvived?: boolean;
}

export interface KillReport {
  readonly chunkBytes: number;
  readonly streams: number;
  readonly resentBytes: number;
  /** Server killed → the restarted one showed that the move went on. */
  readonly resumedSeconds: number;
}

export function emptyReport(): Report {
  return { readySeconds: null, sites: [], guest: null, moves: [], killed: null, server: { rssMiB: null }, agents: [] };
}
