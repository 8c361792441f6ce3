import { type Address, type Id, type NicSpec, Problem, securityGroup } from '@virt8ra/contract';
import type { StoreTransaction } from '../../resources/store.js';
import type { ResolvedReference } from '../../resources/stored-resource.js';

export const groupsPointer = '/spec/securityGroupRefs';

/** The groups that a NIC names. Raises `validation` for one that is not there, is named twice or is of another workspace. */
export async function takeSecurityGroups(
  tx: StoreTransaction,
  { securityGroupRefs = [] }: NicSpec,
  within: Omit<Address, 'name'>,
): Promise<readonly ResolvedReference[]> {
  const references: ResolvedReference[] = [];
  for (const [index, given] of securityGroupRefs.entries()) {
    const at = `${groupsPointer}/${index}`;
    const { target, reference } = await tx.resolve(securityGroup, given, within, at);
    const sources = [{ pointer: at }];
    if (target.address.workspace !== within.workspace)
      throw new Problem('validation', `security group ${target.address.name} is of another workspace`, { sources });
    if (references.some(({ uid }) => uid === reference.uid))
      throw new Problem('validation', `security group ${target.address.name} is named twice`, { sources });
    references.push(reference);
  }
  return references;
}

/** Of the references stored with a NIC, in the order of its specification. */
export function groupsOf(references: readonly { readonly pointer: string; readonly uid: Id<'resource'> }[]): readonly Id<'resource'>[] {
  return references
    .filter(({ pointer: at }) => at.startsWith(`${groupsPointer}/`))
    .toSorted((one, other) => indexOf(one.pointer) - indexOf(other.pointer))
    .map(({ uid }) => uid);
}

function indexOf(at: string): number {
  return Number(at.slice(at.lastIndexOf('/') + 1));
}
