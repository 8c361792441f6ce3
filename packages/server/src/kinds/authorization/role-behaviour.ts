import { type Kind, Problem, type ProblemSource, type RoleSpec, role, roleAssignment, systemRolePrefix } from '@virt8ra/contract';
import type { KindBehaviour } from '../behaviour.js';
import { namesOfUsers } from '../users.js';

const verbPattern = /^(get|list|put|delete|post(\.[a-z]([-a-z0-9]*[a-z0-9])?)?)$/i;
const segment = String.raw`(\*|[A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?)`;
const resourcePattern = new RegExp(`^${segment}(/${segment})*$`);

/** `kinds`: those whose providers a role may name. */
export function createRoleBehaviour(kinds: readonly Kind[]): KindBehaviour<RoleSpec, object> {
  return {
    kind: role,
    async admitPut(_tx, { address, next }) {
      assertNotOurs(address.name);
      const faults = faultsOf(next.spec.permissions, kinds);
      if (faults.length > 0) {
        const message = faults.map(({ pointer, text }) => `${pointer} ${text}`).join('; ');
        throw new Problem('validation', message, { sources: faults.map(({ pointer }): ProblemSource => ({ pointer })) });
      }
      return { outcome: 'active' };
    },
    async admitDelete(tx, { uid, address }) {
      assertNotOurs(address.name);
      const users = await tx.usersOf(uid, roleAssignment);
      if (users.length > 0)
        throw new Problem('conflict', `role ${address.name} is given by ${namesOfUsers(users)}; take it out of their roles first`);
    },
  };
}

function assertNotOurs(name: string): void {
  if (!name.startsWith(systemRolePrefix)) return;
  throw new Problem(
    'forbidden',
    `roles whose names begin with ${systemRolePrefix} are the control plane's and read-only; choose another name`,
  );
}

function faultsOf(permissions: RoleSpec['permissions'], kinds: readonly Kind[]): { readonly pointer: string; readonly text: string }[] {
  const providers = new Map(kinds.filter((kind) => kind.scope !== 'global').map((kind) => [kind.provider, kind.version]));
  return permissions.flatMap(({ provider, resources, verb }, at) => {
    const pointer = `/spec/permissions/${at}`;
    const [name = '', version] = provider.split('/', 2);
    const known = providers.get(name);
    return [
      ...(known !== undefined && (version === undefined || version === known)
        ? []
        : [
            {
              pointer: `${pointer}/provider`,
              text: `is ${provider}, which is no provider here; there are ${[...providers.keys()].join(', ')}`,
            },
          ]),
      ...resources.flatMap((pattern, index) =>
        resourcePattern.test(pattern)
          ? []
          : [
              {
                pointer: `${pointer}/resources/${index}`,
                text: 'must be *, COLLECTION, COLLECTION/* or COLLECTION/NAME; * stands for a whole name only',
              },
            ],
      ),
      ...verb.flatMap((word, index) =>
        verbPattern.test(word)
          ? []
          : [{ pointer: `${pointer}/verb/${index}`, text: `is ${word}; there are get, list, put, delete, post and post.ACTION` }],
      ),
    ];
  });
}
