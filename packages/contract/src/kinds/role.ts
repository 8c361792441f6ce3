import { type Static, Type } from 'typebox';
import { defineKind } from '../kind.js';
import { statusShape } from '../shape.js';

const closed = { additionalProperties: false } as const;

/** Roles whose names begin so are the control plane's: the same in every tenant, and read-only. */
export const systemRolePrefix = 'seca.';

/** In place of a subject's name: everybody of the tenant. */
export const anySubject = '*';

/**
 * What a role allows at one provider. `resources` are patterns: `*` (all), `images` (the collection, to list it), `images/*`, `images/NAME`; what is in a
 * network by `subnets/*` (in any) or `networks/NAME/subnets/*`. `verb` is `get`, `list`, `put`, `delete`, `post` (all actions) or `post.ACTION`,
 * in any case. SECA bounds a verb by 7 characters, which no action fits in: ours are longer.
 */
export const Permission = Type.Object(
  {
    provider: Type.String({ minLength: 1, maxLength: 64 }),
    resources: Type.Array(Type.String({ minLength: 1, maxLength: 256 }), { minItems: 1, maxItems: 256 }),
    verb: Type.Array(Type.String({ minLength: 1, maxLength: 64 }), { minItems: 1, maxItems: 16 }),
  },
  closed,
);
export type Permission = Static<typeof Permission>;

/** SECA role: a list of permissions, given to subjects by role assignments of its tenant. */
export const role = defineKind({
  kind: 'role',
  provider: 'seca.authorization',
  version: 'v1',
  collection: 'roles',
  scope: 'tenant',
  regional: false,
  summary: 'a list of permissions, for role assignments to give',
  spec: Type.Object({ permissions: Type.Array(Permission, { minItems: 1, maxItems: 256 }) }, closed),
  status: statusShape({}),
});
export type RoleSpec = Static<typeof role.spec>;

const ScopeName = Type.String({ minLength: 1, maxLength: 64 });

/** Where a role holds. A dimension that is absent or empty is all of it. */
export const RoleScope = Type.Object(
  {
    regions: Type.Optional(Type.Array(ScopeName, { maxItems: 64 })),
    tenants: Type.Optional(Type.Array(ScopeName, { maxItems: 64 })),
    workspaces: Type.Optional(Type.Array(ScopeName, { maxItems: 256 })),
  },
  closed,
);
export type RoleScope = Static<typeof RoleScope>;

/** SECA role assignment: gives roles to subjects, in scopes of its own tenant. */
export const roleAssignment = defineKind({
  kind: 'role-assignment',
  provider: 'seca.authorization',
  version: 'v1',
  collection: 'role-assignments',
  scope: 'tenant',
  regional: false,
  aliases: ['assignment', 'assignments'],
  summary: 'gives roles to subjects',
  spec: Type.Object(
    {
      /** Names of subjects; `*` is everybody of the tenant. */
      subs: Type.Array(Type.String({ minLength: 1, maxLength: 128 }), { minItems: 1, maxItems: 256 }),
      roles: Type.Array(Type.String({ minLength: 1, maxLength: 64 }), { minItems: 1, maxItems: 32 }),
      scopes: Type.Array(RoleScope, { minItems: 1, maxItems: 256 }),
    },
    closed,
  ),
  status: statusShape({}),
});
export type RoleAssignmentSpec = Static<typeof roleAssignment.spec>;
