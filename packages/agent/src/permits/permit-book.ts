import { type Permit, Problem, type Surrender } from '@virt8ra/contract';
import type { BootClock } from '../system/boot-clock.js';
import { evidenceFault, type HostSigner, signSurrender } from './evidence.js';
import type { PermitJournal } from './permit-journal.js';

export type PermitVerdict = { readonly ok: true } | { readonly ok: false; readonly reason: string };

interface InstancePermits {
  /** Highest epoch under which this host was about to run it; 0: never. */
  held: number;
  /** Highest epoch given up; 0: none. */
  surrendered: number;
  lastSurrender?: Surrender;
  /** By which the epoch held has begun, where the permit itself does not carry it. */
  evidence?: Surrender;
}

/** Instant of expiry, tied to this boot's clock when the permit was received, so that a jumping wall clock cannot lengthen it. */
export interface PermitAnchor {
  readonly epoch: number;
  readonly expiresAt: string;
  readonly bootId: string;
  readonly sinceBootMs: number;
  readonly receivedWallMs: number;
}

export interface PermitBookOptions {
  readonly journal: PermitJournal;
  readonly signer: () => HostSigner;
  /** CA of the control plane, PEM. */
  readonly ca: string;
  readonly clock: BootClock;
  /** A permit counts as expired this long before its expiry. */
  readonly marginMs: number;
}

/**
 * The rules of run permits on one host: at most one host runs an instance, in doubt none does. Every answer follows from the journal, so
 * that it is the same after a reboot without the control plane.
 */
export class PermitBook {
  readonly #options: PermitBookOptions;
  readonly #instances = new Map<string, InstancePermits>();

  constructor(options: PermitBookOptions) {
    this.#options = options;
    for (const entry of options.journal.entries) {
      const permits = this.#of(entry.instance);
      if (entry.type === 'held') {
        permits.held = Math.max(permits.held, entry.epoch);
        if (entry.evidence !== undefined) permits.evidence = entry.evidence;
      } else if (entry.epoch > permits.surrendered) {
        permits.surrendered = entry.epoch;
        const { statement, instance, epoch, at } = entry;
        permits.lastSurrender = signSurrender({ statement, instance, epoch, at }, options.signer());
      }
    }
  }

  /**
   * May this host run the instance under this permit now? `anchor` is needed for permits with an expiry, `handed` is what the host that the permit
   * awaits has handed over.
   */
  judge(instance: string, permit: Permit | undefined, anchor: PermitAnchor | undefined, handed?: Surrender): PermitVerdict {
    const host = this.#options.signer().host;
    const permits = this.#instances.get(instance);
    if (permit === undefined) return refuse('a run permit');
    if (permit.holder !== host) return refuse(`a run permit: epoch ${permit.epoch} belongs to ${permit.holder}`);
    if (permits !== undefined && permit.epoch <= permits.surrendered) {
      return refuse(`a newer run permit: this host gave up epoch ${permits.surrendered}`);
    }
    if (permits !== undefined && permit.epoch < permits.held)
      return refuse(`a newer run permit: this host already held epoch ${permits.held}`);
    if (permit.epoch >= 2) {
      const evidence = permit.evidence ?? awaited(permit, handed ?? permits?.evidence);
      if (evidence === undefined) return refuse(`evidence that epoch ${permit.epoch - 1} has ended`);
      const fault = evidenceFault(evidence, instance, permit.epoch - 1, this.#options.ca);
      if (fault !== undefined) return refuse(`evidence that epoch ${permit.epoch - 1} has ended: ${fault}`);
    }
    if (permit.expiresAt !== undefined) {
      const left = this.remainingMs(permit, anchor);
      if (left <= 0) return refuse(`a fresh run permit: epoch ${permit.epoch} expired at ${permit.expiresAt}`);
    }
    return { ok: true };
  }

  /** Ties a permit's expiry to the clock of this boot; called once, when the permit is received. Undefined without an expiry. */
  anchor(permit: Permit): PermitAnchor | undefined {
    if (permit.expiresAt === undefined) return undefined;
    const { clock } = this.#options;
    return {
      epoch: permit.epoch,
      expiresAt: permit.expiresAt,
      bootId: clock.bootId,
      sinceBootMs: clock.sinceBootMs(),
      receivedWallMs: clock.wallMs(),
    };
  }

  /**
   * Milliseconds until the guest must be stopped, margin included; Infinity without an expiry. In this boot the boot clock and the wall
   * clock must both agree that time is left. After a reboot only the wall clock is there, and one that went back is not believed.
   */
  remainingMs(permit: Permit, anchor: PermitAnchor | undefined): number {
    if (permit.expiresAt === undefined) return Number.POSITIVE_INFINITY;
    const { clock, marginMs } = this.#options;
    const expires = Date.parse(permit.expiresAt);
    if (anchor === undefined || anchor.expiresAt !== permit.expiresAt || anchor.epoch !== permit.epoch || Number.isNaN(expires)) return 0;
    const byWall = expires - clock.wallMs() - marginMs;
    if (anchor.bootId !== clock.bootId) return clock.wallMs() < anchor.receivedWallMs ? 0 : byWall;
    const byBoot = expires - anchor.receivedWallMs - (clock.sinceBootMs() - anchor.sinceBootMs) - marginMs;
    return Math.min(byBoot, byWall);
  }

  /** Journals that this host runs the instance; must return before the guest's first instruction. Raises Problem conflict for an epoch given up. */
  async hold(instance: string, epoch: number, handed?: Surrender): Promise<void> {
    const permits = this.#of(instance);
    if (permits.surrendered >= epoch) throw new Problem('conflict', `epoch ${epoch} of ${instance} was given up by this host`);
    if (permits.held >= epoch) return;
    const evidence = handed === undefined ? {} : { evidence: handed };
    await this.#options.journal.append({ type: 'held', instance, epoch, at: this.#now(), ...evidence });
    permits.held = epoch;
    Object.assign(permits, evidence);
  }

  /** Was this host about to run this epoch, or a later one? */
  hasHeld(instance: string, epoch: number): boolean {
    return (this.#instances.get(instance)?.held ?? 0) >= epoch;
  }

  /**
   * Gives up an epoch for good and answers the signed promise. The caller has made sure that the guest does not run here. Repeating it
   * answers the promise made first.
   */
  async surrender(instance: string, epoch: number): Promise<Surrender> {
    const permits = this.#of(instance);
    if (permits.lastSurrender !== undefined && permits.surrendered >= epoch) {
      if (permits.surrendered === epoch) return permits.lastSurrender;
      // A later promise covers every earlier epoch; the statement asked for is made afresh and binds nothing new.
      return signSurrender({ statement: 'released', instance, epoch, at: permits.lastSurrender.at }, this.#options.signer());
    }
    const statement = permits.held >= epoch ? 'released' : 'refused';
    const at = this.#now();
    await this.#options.journal.append({ type: 'surrendered', statement, instance, epoch, at });
    permits.surrendered = epoch;
    permits.lastSurrender = signSurrender({ statement, instance, epoch, at }, this.#options.signer());
    return permits.lastSurrender;
  }

  /** The last promise made about this instance. */
  lastSurrender(instance: string): Surrender | undefined {
    return this.#instances.get(instance)?.lastSurrender;
  }

  /** Has this host given up this epoch? */
  hasSurrendered(instance: string, epoch: number): boolean {
    return (this.#instances.get(instance)?.surrendered ?? 0) >= epoch;
  }

  #of(instance: string): InstancePermits {
    let permits = this.#instances.get(instance);
    if (permits === undefined) {
      permits = { held: 0, surrendered: 0 };
      this.#instances.set(instance, permits);
    }
    return permits;
  }

  #now(): string {
    return new Date(this.#options.clock.wallMs()).toISOString();
  }
}

/** Only a release by the very host that the permit names counts: a refusal of the epoch before says nothing of the one before that. */
function awaited({ awaits }: Permit, handed: Surrender | undefined): Surrender | undefined {
  return awaits !== undefined && handed?.host === awaits && handed.statement === 'released' ? handed : undefined;
}

function refuse(reason: string): PermitVerdict {
  return { ok: false, reason };
}
