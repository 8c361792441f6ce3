import {
  accountSubjectPrefix,
  anySubject,
  Problem,
  type RoleAssignmentSpec,
  role,
  roleAssignment,
  serviceAccount,
  subjectOfAccount,
  workspace,
} from '@virt8ra/contract';
import type { StoreTransaction } from '../../resources/store.js';
import type { ResolvedReference } from '../../resources/stored-resource.js';
import type { KindBehaviour, PutRequest } from '../behaviour.js';

interface AssignmentOptions {
  readonly region: string;
  /** All subjects there are; undefined: nobody knows them all. */
  readonly subjects?: ReadonlySet<string>;
}

/** Roles, workspaces and service accounts that are named must be there, and stay while they are named. */
export function createRoleAssignmentBehaviour(options: AssignmentOptions): KindBehaviour<RoleAssignmentSpec, object> {
  return {
    kind: roleAssignment,
    async admitPut(tx, { address, next }) {
      return { outcome: 'active', references: await referencesOf(tx, address, next.spec, options) };
    },
  };
}

async function referencesOf(
  tx: StoreTransaction,
  { tenant = '' }: PutRequest<RoleAssignmentSpec, object>['address'],
  { subs, roles, scopes }: RoleAssignmentSpec,
  { region, subjects }: AssignmentOptions,
): Promise<readonly ResolvedReference[]> {
  const references: ResolvedReference[] = [];
  for (const [at, sub] of subs.entries()) {
    const pointer = `/spec/subs/${at}`;
    if (sub.startsWith(accountSubjectPrefix)) {
      const name = sub.slice(subjectOfAccount({ tenant, name: '' }).length);
      if (subjectOfAccount({ tenant, name }) !== sub) throw wrong(pointer, `is ${sub}, which is no service account of tenant ${tenant}`);
      references.push((await tx.resolve(serviceAccount, `${serviceAccount.collection}/${name}`, { tenant }, pointer)).reference);
    } else if (sub !== anySubject && subjects?.has(sub) === false) throw wrong(pointer, `is ${sub}, whom nobody knows here`);
  }
  for (const [at, name] of roles.entries()) {
    references.push((await tx.resolve(role, `${role.collection}/${name}`, { tenant }, `/spec/roles/${at}`)).reference);
  }
  const told = new Set<string>();
  for (const [at, { tenants = [], regions = [], workspaces = [] }] of scopes.entries()) {
    const pointer = `/spec/scopes/${at}`;
    for (const [index, name] of tenants.entries())
      if (name !== tenant)
        throw wrong(`${pointer}/tenants/${index}`, `is ${name}: an assignment of tenant ${tenant} gives nothing in another`);
    for (const [index, name] of regions.entries())
      if (name !== region) throw wrong(`${pointer}/regions/${index}`, `is ${name}; the region here is ${region}`);
    for (const [index, name] of workspaces.entries()) {
      if (told.has(name)) continue;
      told.add(name);
      const given = `${workspace.collection}/${name}`;
      references.push((await tx.resolve(workspace, given, { tenant }, `${pointer}/workspaces/${index}`)).reference);
    }
  }
  return references;
}

function wrong(pointer: string, text: string): Problem {
  return new Problem('validation', `${pointer} ${text}`, { sources: [{ pointer }] });
}
