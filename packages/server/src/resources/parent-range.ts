import { type Address, type Kind, partsOfScope } from '@virt8ra/contract';

/** Parents of resources, as stored in column `parent`: one of them, or all at and below a path. */
export interface ParentRange {
  readonly path: string;
  readonly exact: boolean;
}

/** Parts missing in `within` leave the range open below the first of them: `{tenant}` of instances means those of all its workspaces. */
export function parentRange(kind: Kind, within: Omit<Address, 'name'>): ParentRange {
  const parts = partsOfScope[kind.scope];
  const path: string[] = [];
  for (const part of parts) {
    const value = within[part];
    if (value === undefined) break;
    path.push(`${part}s/${value}`);
  }
  return { path: path.join('/'), exact: path.length === parts.length };
}

/** SQL condition for a range on column `parent`; `bind` takes a value and answers its placeholder. */
export function parentCondition(range: ParentRange, column: string, bind: (value: unknown) => string): string {
  if (range.exact) return `${column} = ${bind(range.path)}`;
  if (range.path === '') return 'true';
  const path = bind(range.path);
  // "0" follows "/" in collation C: a range scan over everything below.
  return `(${column} = ${path} or (${column} > ${path} || '/' and ${column} < ${path} || '0'))`;
}
