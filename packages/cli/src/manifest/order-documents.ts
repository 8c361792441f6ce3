import type { ManifestDocument } from './manifest-document.js';

/** Kinds in the order in which they can be made: each needs only those before it. Deletion goes the other way round. */
const order: readonly string[] = [
  'provider',
  'account',
  'site',
  'host',
  'workspace',
  'image-import',
  'image',
  'network',
  'subnet',
  'nic',
  'block-storage',
  'instance',
  'migration',
];

/** Groups of one kind each, in order of making; inside a group as they were written. A kind unknown here comes last. */
export function groupDocuments(documents: readonly ManifestDocument[]): readonly (readonly ManifestDocument[])[] {
  const groups = new Map<string, ManifestDocument[]>();
  for (const document of documents) {
    const group = groups.get(document.kind.kind);
    if (group === undefined) groups.set(document.kind.kind, [document]);
    else group.push(document);
  }
  return [...groups.values()].sort((one, other) => rankOf(one) - rankOf(other));
}

function rankOf(group: readonly ManifestDocument[]): number {
  const rank = order.indexOf(group[0]?.kind.kind ?? '');
  return rank < 0 ? order.length : rank;
}
