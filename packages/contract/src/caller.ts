import { type Static, Type } from 'typebox';
import { RoleScope } from './kinds/role.js';

/** Who a token speaks for, as `whoami` answers it. */
export const Caller = Type.Object({
  name: Type.String(),
  /** May do everything in their tenants, and change topology. */
  operator: Type.Boolean(),
  tenants: Type.Array(Type.String()),
  /** Further names that role assignments may mean them by, such as their groups. */
  subs: Type.Optional(Type.Array(Type.String())),
  /** Roles that the token itself gives, in all its tenants. */
  roles: Type.Optional(Type.Array(Type.String())),
  /** Nothing beyond this, whatever they are allowed. */
  within: Type.Optional(RoleScope),
});
export type Caller = Readonly<Static<typeof Caller>>;

/** Where tokens come from, as the control plane tells those who have none. */
export const LoginIssuer = Type.Object({
  name: Type.String(),
  /** Its issuer URL (OpenID Connect). */
  issuer: Type.String(),
  clientId: Type.String(),
  scopes: Type.Array(Type.String()),
});
export interface LoginIssuer {
  readonly name: string;
  readonly issuer: string;
  readonly clientId: string;
  readonly scopes: readonly string[];
}
