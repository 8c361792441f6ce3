/** Workspace: a record. It goes only when nothing is in it. */
import { Problem, workspace } from '@virt8ra/contract';
import { assignToCreator, dismissWith } from '../authorization/index.js';
import type { KindBehaviour } from '../behaviour.js';

export const workspaceBehaviour: KindBehaviour<object, { resourceCount?: number }> = {
  kind: workspace,
  async admitPut() {
    return { outcome: 'active' };
  },
  async afterPut(tx, resource, { previous, subject }) {
    if (previous === undefined) await assignToCreator(tx, resource, subject);
  },
  async admitDelete(tx, resource, subject) {
    const [held = 0] = await tx.heldBy([resource.address]);
    if (held > 0) throw new Problem('conflict', `workspace ${resource.address.name} still holds ${held} resources; delete them first`);
    await dismissWith(tx, resource, subject);
  },
  async present(reader, resources) {
    const held = await reader.heldBy(resources.map(({ address }) => address));
    return held.map((resourceCount) => ({ resourceCount }));
  },
};
