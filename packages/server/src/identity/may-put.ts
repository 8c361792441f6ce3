import { type Address, type Kind, kinds } from '@virt8ra/contract';
import type { Subject } from '../kinds/behaviour.js';
import type { StoreTransaction } from '../resources/store.js';
import { permits } from './decide.js';
import { createGrants } from './grants.js';

/** Whether somebody may make such a resource themselves: for what makes it on their behalf. */
export async function mayPut(
  { client }: Pick<StoreTransaction, 'client'>,
  subject: Subject,
  kind: Kind,
  { name, ...place }: Address,
  region: string,
): Promise<boolean> {
  if (subject.operator || place.tenant === undefined) return subject.operator;
  const question = { kind, verb: 'put', place, name };
  const { grants } = await createGrants({ pool: client, kinds, region }).of(subject, place.tenant);
  return permits({ grants, within: subject.within, region }, question);
}
