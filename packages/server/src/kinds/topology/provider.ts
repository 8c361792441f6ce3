import { account, Problem, provider } from '@virt8ra/contract';
import type { Static } from 'typebox';
import type { KindBehaviour } from '../behaviour.js';

/** Provider: a record. It goes only when no account is with it. */
export const providerBehaviour: KindBehaviour<Static<typeof provider.spec>, object> = {
  kind: provider,
  async admitPut() {
    return { outcome: 'active' };
  },
  async admitDelete(tx, { uid, address }) {
    const [user] = await tx.usersOf(uid, account);
    if (user !== undefined)
      throw new Problem('conflict', `provider ${address.name} is used by account ${user.address.name}; delete that first`);
  },
};
