import { Problem, type RoleAssignmentSpec, role, roleAssignment, urnFromAddress, workspace } from '@virt8ra/contract';
import type { StoreTransaction } from '../../resources/store.js';
import type { StoredResource } from '../../resources/stored-resource.js';
import type { Subject } from '../behaviour.js';
import { namesOfUsers } from '../users.js';

const creatorRole = 'seca.workspace-admin';

/** Who makes a workspace is its admin from the same moment on. An operator needs no role. */
export async function assignToCreator(tx: StoreTransaction, made: StoredResource, subject: Subject): Promise<void> {
  const { tenant = '', name } = made.address;
  if (subject.operator) return;
  const pointer = '/spec/roles/0';
  const given = `${role.collection}/${creatorRole}`;
  const { reference } = await tx.resolve(role, given, { tenant }, pointer);
  const address = { tenant, name: await freeName(tx, tenant, `creator.${name}`) };
  const spec: RoleAssignmentSpec = { subs: [subject.name], roles: [creatorRole], scopes: [{ tenants: [tenant], workspaces: [name] }] };
  await tx.put({
    kind: roleAssignment,
    address,
    spec,
    state: 'active',
    conditions: [{ state: 'active' }, { state: 'creating' }, { state: 'pending' }],
    references: [reference, { pointer: '/spec/scopes/0/workspaces/0', given: `${workspace.collection}/${name}`, uid: made.uid }],
  });
  await tx.audit({
    subject: subject.name,
    remote: subject.remote,
    verb: 'put',
    resource: urnFromAddress(roleAssignment, address),
    code: 201,
    reason: `made workspace ${name}`,
  });
}

/** An assignment that is of this workspace only goes with it; one that is of others too would hold for the next of that name. */
export async function dismissWith(tx: StoreTransaction, going: StoredResource, subject: Subject): Promise<void> {
  const { name } = going.address;
  const assignments = (await tx.usersOf(going.uid, roleAssignment)) as readonly StoredResource<RoleAssignmentSpec>[];
  const wider = assignments.filter((each) => namesOtherWorkspaces(each, going));
  if (wider.length > 0)
    throw new Problem(
      'conflict',
      `workspace ${name} is named by ${namesOfUsers(wider)}, along with others; take it out of their scopes first`,
    );
  for (const { uid, address, resourceVersion } of assignments) {
    await tx.remove(uid);
    await tx.audit({
      subject: subject.name,
      remote: subject.remote,
      verb: 'delete',
      resource: urnFromAddress(roleAssignment, address),
      code: 202,
      before: `version ${resourceVersion}`,
      reason: `workspace ${name} was deleted`,
    });
  }
}

async function freeName(tx: StoreTransaction, tenant: string, wanted: string): Promise<string> {
  for (let number = 1; ; number += 1) {
    const name = number === 1 ? wanted : `${wanted}-${number}`;
    if ((await tx.lockAt(roleAssignment, { tenant, name })) === undefined) return name;
  }
}

/** Whether a role assignment is of more than this workspace. */
export function namesOtherWorkspaces(assignment: StoredResource, { kind, address }: StoredResource): boolean {
  if (assignment.kind !== roleAssignment.kind || kind !== workspace.kind) return false;
  const { scopes } = assignment.spec as RoleAssignmentSpec;
  return !scopes.every(({ workspaces = [] }) => workspaces.length > 0 && workspaces.every((each) => each === address.name));
}
