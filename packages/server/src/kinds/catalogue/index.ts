/** The catalogue of SKUs: made by the control plane, the same for every tenant, read-only. */
import { instanceSku, type Kind, networkSku, storageSku } from '@virt8ra/contract';
import type { Store } from '../../resources/store.js';
import type { KindBehaviour } from '../behaviour.js';
import { hardwareSkus, instanceSkus, networkSkus, storageSkus } from './skus.js';

interface Entry {
  readonly kind: Kind;
  readonly name: string;
  readonly spec: unknown;
  readonly extensions?: Readonly<Record<string, string>>;
}

const entriesOf = (kind: Kind, specs: Readonly<Record<string, unknown>>): Entry[] =>
  Object.entries(specs).map(([name, spec]) => ({ kind, name, spec }));

/** SECA knows no processors and pages of a guest's own: extensions of its SKU do. */
const hardwareEntries = Object.entries(hardwareSkus).map(([name, { cpuPolicy, hugePages, ...spec }]): Entry => {
  const extensions = { 'virt8ra.cpu-policy': cpuPolicy, ...(hugePages === undefined ? {} : { 'virt8ra.huge-pages': hugePages }) };
  return { kind: instanceSku, name, spec, extensions };
});

const catalogue: readonly Entry[] = [
  ...entriesOf(instanceSku, instanceSkus),
  ...hardwareEntries,
  ...entriesOf(storageSku, storageSkus),
  ...entriesOf(networkSku, networkSkus),
];

export const catalogueBehaviours: readonly KindBehaviour[] = [instanceSku, storageSku, networkSku].map((kind) => ({ kind }));

/** Brings each tenant's catalogue to what this release sells. What is sold no longer stays, for those who still use it. */
export async function seedCatalogue(store: Store, tenants: readonly string[]): Promise<void> {
  for (const tenant of tenants) {
    await store.transaction(async (tx) => {
      for (const { kind, name, spec, extensions = {} } of catalogue) {
        await tx.put({ kind, address: { tenant, name }, spec, extensions, state: 'active', conditions: [{ state: 'active' }] });
      }
    });
  }
}
