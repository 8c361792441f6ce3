import type { Log, Runner } from '@virt8ra/engine';
import type { SiteConnections } from '../accounts/site-connections.js';
import type { Store } from '../resources/store.js';
import type { MoveMeasures } from './move-measures.js';

/** What behaviours of kinds work with. */
export interface KindContext {
  readonly store: Store;
  readonly sites: SiteConnections;
  /** What moves are forecast from. Default: nothing was measured. */
  readonly measures?: MoveMeasures;
  /** Usable once the server has started: workflows and behaviours are built before the runner that runs them. */
  readonly runner: Runner;
  /** Whether references may be ahead of what they name, as the profile `conformance` has it. Default: they may not. */
  readonly declarative?: boolean;
  readonly now: () => Date;
  readonly log: Log;
}
