import { account, Problem, provider, site } from '@virt8ra/contract';
import type { Driver } from '@virt8ra/driver';
import type { Static } from 'typebox';
import type { KindBehaviour } from '../behaviour.js';

/** Account: our access to a provider through a driver that is built in. */
export function createAccountBehaviour(
  drivers: readonly Pick<Driver<unknown>, 'name'>[],
): KindBehaviour<Static<typeof account.spec>, object> {
  return {
    kind: account,
    async admitPut(tx, { next }) {
      const { driver, providerRef } = next.spec;
      if (!drivers.some(({ name }) => name === driver)) {
        const known = drivers.map(({ name }) => name).join(', ');
        throw new Problem('validation', `no driver ${driver} is built in; there is ${known}`, { sources: [{ pointer: '/spec/driver' }] });
      }
      const { reference } = await tx.resolve(provider, providerRef, {}, '/spec/providerRef');
      return { references: [reference], outcome: 'active' };
    },
    async admitDelete(tx, { uid, address }) {
      const [user] = await tx.usersOf(uid, site);
      if (user !== undefined)
        throw new Problem('conflict', `account ${address.name} is used by site ${user.address.name}; delete that first`);
    },
  };
}
