import type { Address, Kind } from '@virt8ra/contract';

/** Parents of resources, as stored in column `parent`: one of them, or all at and below a path. */
export interface ParentRange {
  readonly path: string;
  readonly exact: boolean;
}

const segments = [
  ['tenant', 'tenants'],
  ['workspace', 'workspaces'],
  ['network', 'networks'],
] as const;

const depths = { global: 0, tenant: 1, workspace: 2, network: 3 } as const;

/** Parts missing in `within` leave the range open below the first of them: `{tenant}` of instances means those of all its workspaces. */
export function parentRange(kind: Kind, within: Omit<Address, 'name'>): ParentRange {
  const depth = depths[kind.scope];
  const path: string[] = [];
  for (const [part, segment] of segments.slice(0, depth)) {
    const value = within[part];
    if (value === undefined) break;
    path.push(`${segment}/${value}`);
  }
  return { path: path.join('/'), exact: path.length === depth };
}

/** SQL condition for a range on column `parent`; `bind` takes a value and answers its placeholder. */
export function parentCondition(range: ParentRange, column: string, bind: (value: unknown) => string): string {
  if (range.exact) return `${column} = ${bind(range.path)}`;
  if (range.path === '') return 'true';
  const path = bind(range.path);
  // "0" follows "/" in collation C: a range scan over everything below.
  return `(${column} = ${path} or (${column} > ${path} || '/' and ${column} < ${path} || '0'))`;
}
