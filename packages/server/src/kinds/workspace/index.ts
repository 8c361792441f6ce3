/** Workspace: a record. It goes only when nothing is in it. */
import { Problem, workspace } from '@virt8ra/contract';
import type { KindBehaviour } from '../behaviour.js';

export const workspaceBehaviour: KindBehaviour<object, { resourceCount?: number }> = {
  kind: workspace,
  async admitPut() {
    return { outcome: 'active' };
  },
  async admitDelete(tx, resource) {
    const held = await tx.count(undefined, {
      ...(resource.address.tenant === undefined ? {} : { tenant: resource.address.tenant }),
      workspace: resource.address.name,
    });
    if (held > 0) throw new Problem('conflict', `workspace ${resource.address.name} still holds ${held} resources; delete them first`);
  },
  async present(reader, resources) {
    return Promise.all(
      resources.map(async ({ address }) => ({
        resourceCount: await reader.count(undefined, {
          ...(address.tenant === undefined ? {} : { tenant: address.tenant }),
          workspace: address.name,
        }),
      })),
    );
  },
};
