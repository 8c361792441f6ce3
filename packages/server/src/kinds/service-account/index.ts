/** Service account: a record, and the tokens that are given out for it. */
import { accountTokenSeconds, Problem, roleAssignment, type ServiceAccountSpec, serviceAccount, subjectOfAccount } from '@virt8ra/contract';
import type { Issuer } from '../../identity/issuer.js';
import type { KindBehaviour } from '../behaviour.js';
import { namesOfUsers } from '../users.js';

/** What an assignment may name. */
const longestSubject = 128;

export function createServiceAccountBehaviour(
  issuer: Pick<Issuer, 'issueToken'>,
  now: () => Date,
): KindBehaviour<ServiceAccountSpec, { subject?: string }> {
  return {
    kind: serviceAccount,
    async admitPut(_tx, { address }) {
      const subject = subjectOfAccount(address);
      if (subject.length > longestSubject)
        throw new Problem('validation', `the name is too long: ${subject} has more than ${longestSubject} characters`, {
          sources: [{ parameter: 'name' }],
        });
      return { outcome: 'active', status: { subject } };
    },
    async admitDelete(tx, { uid, address }) {
      const users = await tx.usersOf(uid, roleAssignment);
      if (users.length > 0)
        throw new Problem(
          'conflict',
          `service account ${address.name} is named by ${namesOfUsers(users)}; take it out of their subjects first`,
        );
    },
    actions: {
      async token(_tx, { uid, address }, _subject, body) {
        const { lifetimeSeconds = accountTokenSeconds.otherwise } = body as { readonly lifetimeSeconds?: number };
        const expiresAt = new Date(now().getTime() + lifetimeSeconds * 1000).toISOString();
        const token = await issuer.issueToken({
          name: subjectOfAccount(address),
          operator: false,
          tenants: [address.tenant ?? ''],
          roles: [],
          account: uid,
          lifetimeSeconds,
        });
        return { token, expiresAt };
      },
    },
  };
}
