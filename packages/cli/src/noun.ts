import { type Kind, kinds, Problem } from '@virt8ra/contract';

/** Kind by its name, collection or alias, as people write them. Raises `invalid-request` with the known nouns. */
export function kindFromNoun(noun: string): Kind {
  const word = noun.toLowerCase();
  const found = kinds.find((kind) => nounsOf(kind).includes(word));
  if (found !== undefined) return found;
  throw new Problem('invalid-request', `there is no kind ${JSON.stringify(noun)}; run "virt8ra kinds" for the list`);
}

/** Words that mean this kind and no other: `skus` names three collections, so that those go by kind and alias only. */
export function nounsOf(kind: Kind): readonly string[] {
  const shared = kinds.some((other) => other !== kind && other.collection === kind.collection);
  return [kind.kind, ...(shared ? [] : [kind.collection]), ...kind.aliases];
}
