/** The catalogue of SKUs: made by the control plane, the same for every tenant, read-only. */
import { instanceSku, type Kind, networkSku, storageSku } from '@virt8ra/contract';
import type { Store } from '../../resources/store.js';
import type { KindBehaviour } from '../behaviour.js';
import { instanceSkus, networkSkus, storageSkus } from './skus.js';

const catalogue: readonly (readonly [Kind, Readonly<Record<string, unknown>>])[] = [
  [instanceSku, instanceSkus],
  [storageSku, storageSkus],
  [networkSku, networkSkus],
];

export const catalogueBehaviours: readonly KindBehaviour[] = catalogue.map(([kind]) => ({ kind }));

/** Brings each tenant's catalogue to what this release sells. What is sold no longer stays, for those who still use it. */
export async function seedCatalogue(store: Store, tenants: readonly string[]): Promise<void> {
  for (const tenant of tenants) {
    await store.transaction(async (tx) => {
      for (const [kind, entries] of catalogue) {
        for (const [name, spec] of Object.entries(entries)) {
          await tx.put({ kind, address: { tenant, name }, spec, state: 'active', conditions: [{ state: 'active' }] });
        }
      }
    });
  }
}
