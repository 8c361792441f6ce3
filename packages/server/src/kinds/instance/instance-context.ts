import type { AccessEndpoints } from '../../access/access-endpoints.js';
import type { KindContext } from '../context.js';

/** What instances need beyond what every kind has: the stable addresses of their exposed ports. */
export interface InstanceContext extends KindContext {
  readonly access: Pick<AccessEndpoints, 'ensure' | 'remove' | 'addressesOf'>;
}
