import {
  type DesiredReceive,
  type DesiredSend,
  type ObservedTransfer,
  type PassFigures,
  type ProblemKind,
  problemKinds,
} from '@virt8ra/contract';
import type { Proxies } from '@virt8ra/outbound';

/** What the agent asks of a mover, the child process that carries the bytes of one transfer, and what it hears from it. */

export interface MoverCredentials {
  readonly certificate: string;
  readonly privateKey: string;
  readonly ca: string;
  /** Of the way to the control plane; other hosts are reached without any. */
  readonly proxies?: Proxies;
}

export interface SendConfig {
  readonly transferId: string;
  /** Folder that the mover may keep its own files in; durable. */
  readonly directory: string;
  readonly credentials: MoverCredentials;
  readonly peer: { readonly name: string; readonly address: string; readonly port: number };
  readonly minPasses: number;
  readonly mode:
    | { readonly type: 'warm'; readonly qmpSocket: string; readonly runtimeDirectory: string }
    | { readonly type: 'cold'; readonly runtimeDirectory: string };
  /** Warm: the guest's block nodes. Cold: the files, newest on top. */
  readonly disks: readonly { readonly sizeBytes: number; readonly node: string; readonly files: readonly string[] }[];
}

export interface ReceiveConfig {
  readonly transferId: string;
  readonly directory: string;
  readonly runtimeDirectory: string;
  readonly credentials: MoverCredentials;
  /** DNS name that the sender's certificate must carry. */
  readonly peerName: string;
  readonly listen: { readonly address: string; readonly ports?: { readonly first: number; readonly last: number } };
  /** Thin pool that the disks grow in, `group/name`; absent: the filesystem they are on. */
  readonly pool?: string;
  /** `frozen`: it came whole and is never written again; the transfer's journal must say so too. */
  readonly disks: readonly { readonly sizeBytes: number; readonly file: string; readonly frozen?: boolean; readonly seed?: SeedSource }[];
}

/** A disk of this host that may hold much of what arrives: its files, newest on top, or why it cannot serve. */
export type SeedSource =
  | { readonly files: readonly string[]; readonly format: 'qcow2' | 'raw' }
  | { readonly problem: { readonly code: string; readonly message: string } };

/** What came of a seed: bytes that were taken from it, and why not all of it served; what is missing is sent. */
export interface Seeding {
  readonly bytes: number;
  readonly problem?: { readonly code: string; readonly message: string };
}

export type Carried = NonNullable<ObservedTransfer['carried']>;

export interface MoverCounters {
  readonly passes: number;
  readonly bytes: number;
  readonly resentBytes: number;
  readonly chunkBytes: number;
  readonly streams: number;
  /** Sender: content as it went over the wire, compressed or not, since its process started. */
  readonly wireBytes?: number;
  /** Sender: content on the wire, and the seconds of carrying it; absent while it is too little to say anything. */
  readonly carried?: Carried;
}

export type MoverNotice =
  /** `seeds`: what came of each disk's, null for a disk without. */
  | { readonly type: 'listening'; readonly address: string; readonly port: number; readonly seeds?: readonly (Seeding | null)[] }
  | {
      readonly type: 'progress';
      readonly phase: string;
      readonly pass: number;
      readonly bytes: number;
      readonly totalBytes: number;
      readonly bytesPerSecond: number;
      readonly etaSeconds: number | null;
      readonly dirtyBytes?: number;
    }
  | ({ readonly type: 'counters' } & MoverCounters)
  | ({ readonly type: 'pass' } & PassFigures)
  /** What the receiver has stays as it is, up to that pass; without one, not any more. */
  | { readonly type: 'held'; readonly pass?: number }
  /** The guest changes as much as is carried, or more: what was said of converging does not hold any more. */
  | { readonly type: 'behind' }
  /** Enough passes were made and little is left: the guest may be stopped at any time. */
  | { readonly type: 'converged' }
  /** The guest was stopped for the last pass. */
  | { readonly type: 'paused'; readonly at: string }
  /** Every byte is durable at the receiver. */
  | { readonly type: 'finished'; readonly roots: readonly string[]; readonly pauseMs?: number }
  | { readonly type: 'aborted' }
  | { readonly type: 'failed'; readonly code: string; readonly message: string };

export interface Mover {
  /** Sender: stop the guest and send what is left. */
  finish(): void;
  /** Sender: begin no further pass, or go on. */
  hold(holding: boolean): void;
  /** Leave source and target as if nothing had been. */
  abort(): void;
  /** Ends the process; a later one goes on where this one was. */
  kill(): Promise<void>;
  readonly exited: Promise<void>;
}

export interface MoverPort {
  send(config: SendConfig, onNotice: (notice: MoverNotice) => void): Mover;
  receive(config: ReceiveConfig, onNotice: (notice: MoverNotice) => void): Mover;
  digest(
    file: string,
    sizeBytes: number,
    directory: string,
    signal: AbortSignal,
  ): Promise<{ readonly root: string; readonly chunkBytes: number }>;
}

/** The kind of the problem that a mover failed with. */
export function kindFromCode(code: string): ProblemKind {
  return problemKinds.find((kind) => kind === code) ?? 'internal';
}

export interface RunningMover {
  readonly mover: Mover;
  /** What was last asked of it. */
  goal: (DesiredSend | DesiredReceive)['goal'];
  holding?: boolean;
}
