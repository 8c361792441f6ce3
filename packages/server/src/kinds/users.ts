import type { StoredResource } from '../resources/stored-resource.js';

const shown = 3;

/** The first few of those that use something, for a refusal: `nic web-0, nic web-1 and 3 more`. */
export function namesOfUsers(users: readonly Pick<StoredResource, 'kind' | 'address'>[]): string {
  const names = users.slice(0, shown).map(({ kind, address }) => `${kind} ${address.name}`);
  const more = users.length - names.length;
  if (more > 0) return `${names.join(', ')} and ${more} more`;
  const last = names.pop() ?? 'nobody';
  return names.length === 0 ? last : `${names.join(', ')} and ${last}`;
}
