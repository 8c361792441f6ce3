import type { SubnetSpec } from '@virt8ra/contract';
import type { StoredResource } from '../../resources/stored-resource.js';
import { gatewayOf, type IpRange, rangesOf } from './cidr.js';

/** The gateway of each range of a subnet, where it was laid when the subnet was made. */
export function gatewaysOf({ spec, status }: Pick<StoredResource<SubnetSpec>, 'spec' | 'status'>): readonly {
  readonly address: string;
  readonly range: IpRange;
}[] {
  const { gateways = [] } = status as { readonly gateways?: readonly string[] };
  return rangesOf(spec.cidr, '/spec/cidr').map((range, index) => ({ address: gateways[index] ?? gatewayOf(range, 'first'), range }));
}
