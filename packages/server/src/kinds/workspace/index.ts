/** Workspace: a record. It goes only when nothing is in it. */
import { Problem, workspace } from '@virt8ra/contract';
import type { KindBehaviour } from '../behaviour.js';

export const workspaceBehaviour: KindBehaviour<object, { resourceCount?: number }> = {
  kind: workspace,
  async admitPut() {
    return { outcome: 'active' };
  },
  async admitDelete(tx, resource) {
    const [held = 0] = await tx.heldBy([resource.address]);
    if (held > 0) throw new Problem('conflict', `workspace ${resource.address.name} still holds ${held} resources; delete them first`);
  },
  async present(reader, resources) {
    const held = await reader.heldBy(resources.map(({ address }) => address));
    return held.map((resourceCount) => ({ resourceCount }));
  },
};
