import type { BootEvidence, GuestPreparation, ObservedBootProbe, PassFigures, PrepareGuest } from '@virt8ra/contract';
import type { Handle, Observation } from '../observation.js';
import type { InstanceRealizationSpec } from './instances.js';

/** Copies disks between sites. One transfer has two ends, each declared at its own site; both are level-triggered and resume by themselves. */

export interface SendSpec {
  readonly host?: string;
  readonly mode: 'live' | 'warm' | 'cold';
  readonly instance: Handle;
  readonly disks: readonly { readonly volume: Handle; readonly sizeBytes: number }[];
  readonly peer: { readonly name: string; readonly address: string; readonly port: number };
  readonly minPasses: number;
  /**
   * `copy` until told; `finish` stops the guest, sends the last changes and releases the permit; `abort` lets the guest run on. Live: a guest that
   * was released and does not run at the target stands still under `abort`, and goes on under a permit of a later epoch.
   */
  readonly goal: 'copy' | 'finish' | 'abort';
  readonly epoch: number;
  /** Warm and cold: no further pass is begun, so that what the receiver has stays as it is. A site that cannot refuses. */
  readonly hold?: boolean;
  /** Live: the guest was seen to run at the target, so that what is left of it here may go. */
  readonly arrived?: boolean;
}

/** What is at the receiving site already and may hold much of what arrives: a disk, or an image of the image store by content address. */
export type Seed = { readonly volume: Handle } | { readonly image: { readonly sha256: string; readonly format: 'qcow2' | 'raw' } };
export interface ProbeSpec {
  /** Names it; another one begins anew. */
  readonly request: string;
  readonly timeoutSeconds: number;
  /** What its guest must show, or what is stronger. */
  readonly expects: BootEvidence;
  readonly instance: InstanceRealizationSpec;
  /** The instance's key at this site. */
  readonly instanceKey: string;
}

export interface ReceiveSpec {
  readonly host?: string;
  /**
   * `seed`: the arriving disk begins as its content, and only what differs is sent. A seed is only read; where it is gone, damaged, elsewhere or more
   * than the site can use, everything is sent, and `TransferStatus.seeds` says so.
   */
  readonly disks: readonly { readonly volume: Handle; readonly sizeBytes: number; readonly seed?: Seed }[];
  readonly peerName: string;
  /** Live: the instance at this end whose memory comes. */
  readonly instance?: Handle;
  readonly goal: 'receive' | 'abort';
  /** What has arrived is changed, above the copy, as a guest needs it that is to start there. A site that cannot do it refuses (`unsupported`). Never live. */
  readonly prepare?: PrepareGuest;
  /** A boot above what has arrived, on disks that are thrown away and without network, while the sender holds. A site that cannot refuses. */
  readonly probe?: ProbeSpec;
}

export interface TransferStatus {
  /**
   * `failed`: repeating cannot mend it, such as a disk that is full; the observation is then `broken` with the reason (`exhausted` for lack of
   * room, with what is free and needed). What passes by itself, such as a peer that is away, never is. Only `abort` or removal lead on.
   */
  readonly state: 'preparing' | 'listening' | 'copying' | 'converged' | 'finishing' | 'finished' | 'aborting' | 'aborted' | 'failed';
  readonly address?: string;
  readonly port?: number;
  readonly passes: number;
  readonly bytes: number;
  readonly resentBytes: number;
  readonly chunkBytes: number;
  readonly streams: number;
  readonly pauseMs?: number;
  readonly pausedAt?: string;
  /** Receiver, in the order of its disks: bytes that came from the seed, and why not all of it served; null for a disk without. */
  readonly seeds?: readonly ({ readonly bytes: number; readonly problem?: { readonly code: string; readonly message: string } } | null)[];
  readonly roots?: readonly string[];
  /** Receiving end that was told to prepare what arrives: how far that is. */
  readonly prepared?: GuestPreparation;
  /** Sender, warm: its latest passes, oldest first; absent where they are not told. */
  readonly recentPasses?: readonly PassFigures[];
  /** Sender: it holds behind that pass. */
  readonly held?: { readonly pass: number };
  readonly probe?: ObservedBootProbe;
}

export interface DisksFacet {
  /** Declares (or re-declares) one end under `key`; idempotent. */
  send(spec: SendSpec, key: string): Promise<Handle>;
  receive(spec: ReceiveSpec, key: string): Promise<Handle>;
  /** Both ends of a transfer have one key: where both are at one site, `host` says which is meant. */
  find(key: string, host?: string): Promise<Handle | undefined>;
  observe(handle: Handle): Promise<Observation<TransferStatus>>;
  /** Forgets the transfer; disks stay as their own realizations say. */
  remove(handle: Handle): Promise<void>;
  /** Name the peer must present, for the host an object lives on. */
  peerName(host: string): string;
}
