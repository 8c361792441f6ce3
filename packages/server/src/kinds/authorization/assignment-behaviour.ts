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
import type { AwaitedReference, KindBehaviour, PutRequest } from '../behaviour.js';
import { resolveAhead } from '../resolve-ahead.js';

interface AssignmentOptions {
  readonly region: string;
  /** Whether there may be such a subject; undefined: nobody knows them all. */
  readonly subjects?: Pick<ReadonlySet<string>, 'has'>;
  /** Whether roles and workspaces may be named before they are made. */
  readonly declarative?: boolean;
}

/** Roles, workspaces and service accounts that are named must be there, and stay while they are named. */
export function createRoleAssignmentBehaviour(options: AssignmentOptions): KindBehaviour<RoleAssignmentSpec, object> {
  return {
    kind: roleAssignment,
    async admitPut(tx, { address, next }) {
      return { outcome: 'active', ...(await referencesOf(tx, address, next.spec, options)) };
    },
  };
}

async function referencesOf(
  tx: StoreTransaction,
  { tenant = '' }: PutRequest<RoleAssignmentSpec, object>['address'],
  { subs, roles, scopes }: RoleAssignmentSpec,
  { region, subjects, declarative = false }: AssignmentOptions,
): Promise<{ readonly references: readonly ResolvedReference[]; readonly awaited: readonly AwaitedReference[] }> {
  const references: ResolvedReference[] = [];
  const awaited: AwaitedReference[] = [];
  const name = async (kind: typeof role | typeof workspace, text: string, pointer: string): Promise<void> => {
    const given = `${kind.collection}/${text}`;
    const found = await resolveAhead(tx, { kind, given, from: { tenant }, pointer }, declarative);
    if ('awaited' in found) awaited.push(found.awaited);
    else references.push(found.reference);
  };
  for (const [at, sub] of subs.entries()) {
    const pointer = `/spec/subs/${at}`;
    if (sub.startsWith(accountSubjectPrefix)) {
      const name = sub.slice(subjectOfAccount({ tenant, name: '' }).length);
      if (subjectOfAccount({ tenant, name }) !== sub) throw wrong(pointer, `is ${sub}, which is no service account of tenant ${tenant}`);
      references.push((await tx.resolve(serviceAccount, `${serviceAccount.collection}/${name}`, { tenant }, pointer)).reference);
    } else if (sub !== anySubject && subjects?.has(sub) === false) throw wrong(pointer, `is ${sub}, whom nobody knows here`);
  }
  for (const [at, text] of roles.entries()) await name(role, text, `/spec/roles/${at}`);
  const told = new Set<string>();
  for (const [at, { tenants = [], regions = [], workspaces = [] }] of scopes.entries()) {
    const pointer = `/spec/scopes/${at}`;
    for (const [index, text] of tenants.entries())
      if (text !== tenant)
        throw wrong(`${pointer}/tenants/${index}`, `is ${text}: an assignment of tenant ${tenant} gives nothing in another`);
    for (const [index, text] of regions.entries())
      if (text !== region) throw wrong(`${pointer}/regions/${index}`, `is ${text}; the region here is ${region}`);
    for (const [index, text] of workspaces.entries()) {
      if (told.has(text)) continue;
      told.add(text);
      await name(workspace, text, `${pointer}/workspaces/${index}`);
    }
  }
  return { references, awaited };
}

function wrong(pointer: string, text: string): Problem {
  return new Problem('validation', `${pointer} ${text}`, { sources: [{ pointer }] });
}
