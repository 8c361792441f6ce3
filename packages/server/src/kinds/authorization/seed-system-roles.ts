import { type Kind, type RoleSpec, role } from '@virt8ra/contract';
import { systemRoles } from '../../identity/system-roles.js';
import type { Store } from '../../resources/store.js';

/** Shows each tenant its system roles as this release has them. They are read from here by people only: what they allow is in the code. */
export async function seedSystemRoles(store: Store, tenants: readonly string[], kinds: readonly Kind[]): Promise<void> {
  for (const tenant of tenants) {
    await store.transaction(async (tx) => {
      for (const [name, permissions] of Object.entries(systemRoles(kinds))) {
        const spec: RoleSpec = { permissions: [...permissions] };
        await tx.put({ kind: role, address: { tenant, name }, spec, state: 'active', conditions: [{ state: 'active' }] });
      }
    });
  }
}
