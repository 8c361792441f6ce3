/** Object storage account: described, and refused until a driver makes them. */
import { objectStorageAccount } from '@virt8ra/contract';
import type { KindBehaviour } from '../behaviour.js';
import type { KindContext } from '../context.js';
import { refuseUnrealized } from '../unrealized.js';

export function createObjectStorageAccountBehaviour(context: Pick<KindContext, 'sites' | 'log'>): KindBehaviour {
  return {
    kind: objectStorageAccount,
    admitPut: async (tx) =>
      await refuseUnrealized(context, tx, {
        what: 'an object storage account',
        facet: 'objectStores',
        instead: 'Use an object store of a provider directly',
      }),
  };
}
