import type { CloudClient } from './client.js';
import type { KeyLock } from './key-lock.js';

/** What the facets of one connection share. */
export interface SiteParts {
  readonly client: CloudClient;
  /** For observations. */
  readonly source: string;
  readonly lock: KeyLock;
  readonly availabilityZone: string | undefined;
}
