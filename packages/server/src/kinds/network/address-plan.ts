import { type NetworkSpec, type SubnetSpec, subnet } from '@virt8ra/contract';
import type { StoreReader } from '../../resources/store.js';
import type { StoredResource } from '../../resources/stored-resource.js';
import { type IpRange, rangesOf } from './cidr.js';

/** Every range of a network. Raises `validation` with the pointer. */
export function networkRanges(spec: Pick<NetworkSpec, 'cidr' | 'additionalCidrs'>): readonly IpRange[] {
  return [
    ...rangesOf(spec.cidr, '/spec/cidr'),
    ...(spec.additionalCidrs ?? []).flatMap((cidr, index) => rangesOf(cidr, `/spec/additionalCidrs/${index}`)),
  ];
}

/** All subnets of a network, those that are going included. */
export async function subnetsOf(
  reader: Pick<StoreReader, 'list'>,
  within: Omit<StoredResource['address'], 'name'>,
): Promise<readonly StoredResource<SubnetSpec>[]> {
  const found: StoredResource<SubnetSpec>[] = [];
  let after: string | undefined;
  do {
    const page = await reader.list<SubnetSpec>(subnet, within, { selector: [], limit: 1000, after });
    // One that waits for another's range to be free has none yet.
    found.push(...page.items.filter(({ status }) => (status as { readonly cidr?: unknown }).cidr !== undefined));
    after = page.next;
  } while (after !== undefined);
  return found;
}
