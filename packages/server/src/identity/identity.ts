import type { RoleScope } from '@virt8ra/contract';

/** Who a token speaks for. */
export interface Identity {
  readonly name: string;
  readonly operator: boolean;
  readonly tenants: readonly string[] | 'all';
  /** Further names that role assignments may mean them by, such as their groups. */
  readonly subs?: readonly string[];
  /** Roles that the token itself gives in its tenants, besides those that are assigned. */
  readonly roles?: readonly string[];
  /** Nothing beyond this, whatever is assigned. */
  readonly within?: RoleScope;
  /** Of a service account: the resource that must still be there. */
  readonly account?: string;
}

/** Longer tokens are not worth a signature check. Those of big organisations carry many groups. */
export const longestToken = 16_384;

export const clockToleranceSeconds = 30;

export function isTexts(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((each) => typeof each === 'string');
}
