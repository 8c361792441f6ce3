import { type Kind, type Permission, partsOfScope, workspace } from '@virt8ra/contract';

const all = ['get', 'list', 'put', 'delete', 'post'];
const look = ['get', 'list'];

/** The roles that every tenant has, derived from the kinds there are. */
export function systemRoles(kinds: readonly Kind[]): Readonly<Record<string, readonly Permission[]>> {
  const governed = kinds.filter((kind) => kind.scope !== 'global');
  // What is of no region is of people: roles, and the accounts that they are given to.
  const regional = governed.filter((kind) => kind.regional);
  const inside = governed.filter((kind) => partsOfScope[kind.scope].includes('workspace'));
  const beside = regional.filter((kind) => kind.scope === 'tenant' && kind.kind !== workspace.kind);
  const own = (verb: string[]): Permission => ({ provider: workspace.provider, resources: [`${workspace.collection}/*`], verb });
  const whole = (which: readonly Kind[]): Permission[] => permissionsOf(which, () => ['*'], all);
  const catalogue = permissionsOf(beside, patternsOf, look);
  return {
    'seca.admin': whole(governed),
    'seca.region-admin': whole(regional),
    'seca.workspace-admin': [own(all), ...permissionsOf(inside, patternsOf, all), ...catalogue],
    'seca.workspace-editor': [own(look), ...permissionsOf(inside, patternsOf, all), ...catalogue],
    'seca.workspace-viewer': [own(look), ...permissionsOf(inside, patternsOf, look), ...catalogue],
  };
}

function patternsOf(kind: Kind): readonly string[] {
  return [kind.collection, `${kind.collection}/*`];
}

/** One permission for each provider. */
function permissionsOf(kinds: readonly Kind[], resources: (kind: Kind) => readonly string[], verb: string[]): Permission[] {
  const byProvider = new Map<string, Set<string>>();
  for (const kind of kinds) {
    const patterns = byProvider.get(kind.provider) ?? new Set();
    for (const pattern of resources(kind)) patterns.add(pattern);
    byProvider.set(kind.provider, patterns);
  }
  return [...byProvider].map(([provider, patterns]) => ({ provider, resources: [...patterns], verb }));
}
