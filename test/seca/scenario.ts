import type { Suite } from './suite.js';

/** One scenario of SECA's conformance suite, under its name there, re-told in our own steps. Both sentences stand in docs/seca.md too. */
export interface Scenario {
  readonly name: string;
  run(suite: Suite): Promise<void>;
  /** What the suite asks and profile standard does otherwise, beside the statuses of refusals. Absent: nothing. */
  readonly differs?: string;
  /** What the suite asks and profile conformance cannot do either, with the scenario or the rule that forbids it. Absent: nothing. */
  readonly contradicts?: string;
}

export const labels = { env: 'conformance' } as const;
