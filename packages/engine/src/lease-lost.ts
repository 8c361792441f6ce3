import { Problem } from '@virt8ra/contract';

/** Raised when another replica holds what the caller held: nothing more may be written, and nothing be concluded from what was done. */
export class LeaseLost extends Problem {
  constructor(what: string) {
    super('unavailable', `${what} is held by someone else now; this replica has stopped working on it`);
  }
}
