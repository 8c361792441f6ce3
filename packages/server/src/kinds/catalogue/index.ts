/** The catalogue of SKUs: made by the control plane, the same for every tenant, read-only. */
import { instanceSku, type Kind, networkSku, Problem, storageSku } from '@virt8ra/contract';
import { jsonEqual } from '../../resources/json-equal.js';
import type { Store } from '../../resources/store.js';
import type { KindBehaviour } from '../behaviour.js';
import type { OwnSku } from './own-skus.js';
import { hardwareSkus, instanceSkus, networkSkus, storageSkus } from './skus.js';

export { readOwnSkus } from './own-skus.js';

interface Entry {
  readonly kind: Kind;
  readonly name: string;
  readonly spec: unknown;
  readonly labels?: Readonly<Record<string, string>>;
  readonly extensions?: Readonly<Record<string, string>>;
}

const entriesOf = (kind: Kind, specs: Readonly<Record<string, unknown>>): Entry[] =>
  Object.entries(specs).map(([name, spec]) => ({ kind, name, spec }));

/** Clients choose SECA's own sizes by this label: `DXS` is that of seca.dxs. */
const tiers = entriesOf(instanceSku, instanceSkus).map(
  (entry): Entry => ({ ...entry, labels: { Tier: entry.name.slice('seca.'.length).toUpperCase() } }),
);

/** SECA knows no processors and pages of a guest's own: extensions of its SKU do. */
const hardwareEntries = Object.entries(hardwareSkus).map(([name, { cpuPolicy, hugePages, ...spec }]): Entry => {
  const extensions = { 'virt8ra.cpu-policy': cpuPolicy, ...(hugePages === undefined ? {} : { 'virt8ra.huge-pages': hugePages }) };
  return { kind: instanceSku, name, spec, extensions };
});

const catalogue: readonly Entry[] = [
  ...tiers,
  ...hardwareEntries,
  ...entriesOf(storageSku, storageSkus),
  ...entriesOf(networkSku, networkSkus),
];

export const catalogueBehaviours: readonly KindBehaviour[] = [instanceSku, storageSku, networkSku].map((kind) => ({ kind }));

/**
 * Brings each tenant's catalogue to what this release and its operator sell. What is sold no longer stays, for those who still use it. Raises `conflict`
 * when one of the operator's own is sold already and was another size: what is placed would change under its users.
 */
export async function seedCatalogue(store: Store, tenants: readonly string[], own: readonly OwnSku[] = []): Promise<void> {
  for (const tenant of tenants) {
    await store.transaction(async (tx) => {
      for (const { name, spec, extensions } of own) {
        const sold = await tx.lockAt(instanceSku, { tenant, name });
        if (sold !== undefined && !(jsonEqual(sold.spec, spec) && jsonEqual(sold.extensions, extensions)))
          throw new Problem(
            'conflict',
            `instance SKU ${name} of the file is not the one that is sold already; give the new size another name`,
          );
        await tx.put({
          kind: instanceSku,
          address: { tenant, name },
          spec,
          extensions,
          state: 'active',
          conditions: [{ state: 'active' }],
        });
      }
      for (const { kind, name, spec, labels = {}, extensions = {} } of catalogue) {
        await tx.put({ kind, address: { tenant, name }, labels, spec, extensions, state: 'active', conditions: [{ state: 'active' }] });
      }
    });
  }
}
