import { Problem } from '@virt8ra/contract';
import { writeJsonAtomic } from '../disk/atomic-file.js';
import { type Quarantine, readJsonOrQuarantine } from '../disk/quarantine.js';
import type { FormerDriver } from './bind.js';

/** A unit of PCI functions that an instance holds. */
export interface PciClaim {
  readonly key: string;
  /** Of its main function, as the instance asked for it. */
  readonly id: string;
  /** Which of the instance's places for such devices it has; kept for its life here. */
  readonly place: number;
  /** The main function first. */
  readonly functions: readonly { readonly address: string; readonly id: string; readonly former?: FormerDriver }[];
  /** `binding`: drivers are being changed, and no guest has had it yet. `undoing`: that is being taken back. `leaving`: it is being given back. */
  readonly stage: 'binding' | 'bound' | 'undoing' | 'leaving';
}

/** Which instance holds which PCI devices of this host, and how far that is: `pci.json`, written before anything is touched. */
export class PciClaims {
  readonly #path: string;
  #claims: readonly PciClaim[];

  private constructor(path: string, claims: readonly PciClaim[]) {
    this.#path = path;
    this.#claims = claims;
  }

  /** A damaged file goes to the quarantine: what guests hold is told by their processes. Raises Problem internal for one of another version. */
  static async open(path: string, quarantine: Quarantine): Promise<PciClaims> {
    const read = await readJsonOrQuarantine(path, quarantine);
    if (read.type !== 'content') return new PciClaims(path, []);
    const { version, claims } = (read.content ?? {}) as { readonly version?: unknown; readonly claims?: unknown };
    if (typeof version === 'number' && version !== 1) throw new Problem('internal', `${path} was written by another version of the agent`);
    if (version === 1 && Array.isArray(claims) && claims.every(isClaim)) return new PciClaims(path, claims);
    await quarantine.move(path, `${path} has not the form of the list of PCI devices that guests hold`);
    return new PciClaims(path, []);
  }

  all(): readonly PciClaim[] {
    return this.#claims;
  }

  /** What an instance holds and keeps. */
  of(key: string): readonly PciClaim[] {
    return this.#claims.filter((claim) => claim.key === key && !isGoing(claim));
  }

  /** What is being given back by whomever. */
  going(): readonly PciClaim[] {
    return this.#claims.filter(isGoing);
  }

  /** Whose a function is. */
  holderOf(address: string): PciClaim | undefined {
    return this.#claims.find(({ functions }) => functions.some((each) => each.address === address));
  }

  /** Durable when it returns. */
  async replace(claims: readonly PciClaim[]): Promise<void> {
    await writeJsonAtomic(this.#path, { version: 1, claims });
    this.#claims = claims;
  }
}

function isGoing({ stage }: PciClaim): boolean {
  return stage === 'undoing' || stage === 'leaving';
}

function isClaim(value: unknown): value is PciClaim {
  const claim = value as Partial<PciClaim> | null;
  return (
    typeof claim?.key === 'string' &&
    typeof claim.id === 'string' &&
    typeof claim.place === 'number' &&
    ['binding', 'bound', 'undoing', 'leaving'].includes(claim.stage ?? '') &&
    Array.isArray(claim.functions) &&
    claim.functions.length > 0 &&
    claim.functions.every((each: unknown) => typeof (each as { address?: unknown }).address === 'string')
  );
}
