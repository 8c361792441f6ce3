import type { AgentFeature } from '@virt8ra/contract';
import type { AgentConfig } from './config.js';
import type { Board } from './desired/board.js';
import type { HostObject } from './desired/host-object.js';
import type { Ledger } from './desired/ledger.js';
import type { DedicatedCpus } from './hardware/dedicated-cpus.js';
import type { Log } from './log.js';
import type { PciPassthrough } from './pci/passthrough.js';
import type { PermitBook } from './permits/permit-book.js';
import type { Hypervisor } from './qemu/probe.js';
import type { BootClock } from './system/boot-clock.js';

/** How guests of this host are networked, and why not better. */
export interface Networking {
  readonly mode: 'bridge' | 'user';
  readonly reason: string;
  readonly features: readonly AgentFeature[];
  /** What guests' networks lack, each a sentence. */
  readonly limits: readonly string[];
}

/** What every reconciler of a host works with. */
export interface HostContext {
  readonly config: AgentConfig;
  readonly log: Log;
  readonly clock: BootClock;
  readonly ledger: Ledger;
  readonly board: Board;
  readonly permits: PermitBook;
  readonly hypervisor: Hypervisor;
  readonly networking: Networking;
  readonly dedicated: DedicatedCpus;
  readonly pci: PciPassthrough;
  /** This agent among those of the machine; follows from its state directory. */
  readonly agentId: string;
  /** SHA-256 of the control plane's CA certificate. */
  readonly controlPlane: string;
  /** Address for data ports and exposed ports. */
  readonly dataAddress: () => string;
  /** Asks for a pass of an object. */
  readonly nudge: (object: HostObject) => void;
}

/** A problem as observations carry it. */
export function troubleFrom(problem: { readonly kind: string; readonly message: string }): { code: string; message: string } {
  return { code: problem.kind, message: problem.message.slice(0, 4096) };
}
