import type { Suite } from './suite.js';

/** One scenario of SECA's conformance suite, under its name there, re-told in our own steps. */
export interface Scenario {
  readonly name: string;
  run(suite: Suite): Promise<void>;
  /**
   * Where the suite asks for something else than the steps here, in one sentence that docs/seca.md has too. Absent: the steps ask what the
   * suite asks, save for the statuses of refusals in the standard profile.
   */
  readonly differs?: string;
}

export const labels = { env: 'conformance' } as const;
