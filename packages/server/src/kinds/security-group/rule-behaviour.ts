import { Problem, type SecurityGroupRuleSpec, securityGroup, securityGroupRule } from '@virt8ra/contract';
import type { KindBehaviour } from '../behaviour.js';
import { namesOfUsers } from '../users.js';
import { admitRule } from './admit-rule.js';

/** Security group rule: a record. A change of it is a change of every group that shares it. */
export const securityGroupRuleBehaviour: KindBehaviour<SecurityGroupRuleSpec, object> = {
  kind: securityGroupRule,
  async admitPut(tx, { address, next, previous }) {
    const { name: _, ...within } = address;
    const references = await admitRule(tx, next.spec, within, '/spec');
    if (previous !== undefined) {
      for (const { uid } of await tx.usersOf(previous.uid, securityGroup)) await tx.nudge(securityGroup.kind, uid);
    }
    return { references, outcome: 'active' };
  },
  async admitDelete(tx, { uid, address }) {
    const users = await tx.usersOf(uid);
    if (users.length > 0)
      throw new Problem('conflict', `security group rule ${address.name} is used by ${namesOfUsers(users)}; change or delete them first`);
  },
};
