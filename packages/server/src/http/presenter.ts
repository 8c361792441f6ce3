import type { Resource } from '@virt8ra/contract';
import type { KindBehaviour } from '../kinds/behaviour.js';
import type { StoreReader } from '../resources/store.js';
import type { StoredResource } from '../resources/stored-resource.js';
import { type ApiProfile, conditionsIn } from './profile.js';
import { resourceDocument } from './resource-document.js';

/** Resources of one kind as documents, with the facts their kind computes at read time. */
export type Present = (behaviour: KindBehaviour, resources: readonly StoredResource[], verb: 'GET' | 'PUT') => Promise<readonly Resource[]>;

export function createPresenter(reader: StoreReader, region: string, profile: ApiProfile): Present {
  return async (behaviour, resources, verb) => {
    const facts = resources.length === 0 ? undefined : await behaviour.present?.(reader, resources);
    return resources.map((resource, index) => {
      const more = facts?.[index];
      const seen = more === undefined ? resource : { ...resource, status: { ...(resource.status as object), ...(more as object) } };
      return resourceDocument(behaviour.kind, { ...seen, conditions: conditionsIn(profile, seen.conditions) }, verb, region);
    });
  };
}
