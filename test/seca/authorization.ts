import { withWorkspace } from './foundations.js';
import { labels, type Scenario } from './scenario.js';
import { type Draft, pathOf, refusesEnvelope, type Suite } from './suite.js';

const roles = pathOf('authorization', 'roles');
const assignments = pathOf('authorization', 'role-assignments');
const permission = { provider: 'seca.storage', resources: ['images/*'], verb: ['GET', 'PUT'] } as const;
const roleOf = (more: object = {}): Draft => ({ spec: { permissions: [{ ...permission, ...more }] }, labels });
const assignmentOf = (more: object = {}): Draft => ({
  spec: { subs: ['u1@example.org'], roles: ['seca-test'], scopes: [{ tenants: ['default'] }], ...more },
  labels,
});
const many = (count: number, text: string): readonly string[] => Array.from({ length: count }, (_, index) => `${text}${index}`);

async function roleLife(suite: Suite, name: string): Promise<void> {
  const path = `${roles}/${name}`;
  await suite.create(path, roleOf());
  await suite.active(path, roleOf());
  await suite.update(path, roleOf({ resources: ['images'] }));
  await suite.active(path, roleOf({ resources: ['images'] }));
  await suite.remove(path);
}

async function assignmentLife(suite: Suite, name: string): Promise<void> {
  const role = `${roles}/${name}-role`;
  const made = suite.profile === 'standard' ? [role] : [];
  for (const each of made) await suite.create(each, roleOf());
  const path = `${assignments}/${name}`;
  const draft = assignmentOf({ roles: [`${name}-role`] });
  await suite.create(path, draft);
  await suite.active(path, draft);
  const changed = assignmentOf({ roles: [`${name}-role`], subs: ['u2@example.org'] });
  await suite.update(path, changed);
  await suite.active(path, changed);
  if (made.length === 0) await suite.waitsFor(path, role);
  await suite.remove(path, ...made);
}

/** Names what is not there, waits, and goes on when it is made. */
async function goesOn(suite: Suite, draft: Draft): Promise<void> {
  const [path, role, workspace] = [`${assignments}/ahead`, `${roles}/au-later`, pathOf('workspace', 'workspaces/au-later')];
  await suite.create(path, draft);
  await suite.active(path, draft);
  await suite.waitsFor(path, 'au-later');
  await suite.create(role, roleOf());
  await suite.create(workspace);
  await suite.wentOn(path);
  await suite.remove(path, role, workspace);
}

async function refusesEach(
  suite: Suite,
  path: string,
  of: (more: object) => Draft,
  wrong: readonly (readonly [object, string])[],
): Promise<void> {
  for (const [change, pointer] of wrong) await suite.refused(path, of(change), 422, pointer);
}

export const authorizationScenarios: readonly Scenario[] = [
  {
    name: 'Authorization.V1.ProviderLifeCycle',
    async run(suite) {
      await roleLife(suite, 'au-life');
      await assignmentLife(suite, 'au-life');
    },
  },
  { name: 'Authorization.V1.RoleLifeCycle', run: async (suite) => await roleLife(suite, 'au-role') },
  {
    name: 'Authorization.V1.RoleAssignmentLifeCycle',
    differs: 'assigns a role that is never made, which Authorization.V1.RoleAssignmentError forbids; here it is made first',
    run: async (suite) => await assignmentLife(suite, 'au-assign'),
  },
  {
    name: 'Authorization.V1.ProviderQueries',
    async run(suite) {
      const names = ['au-a', 'au-b', 'au-c'];
      for (const name of names) {
        await suite.create(`${roles}/${name}`, roleOf());
        await suite.create(`${assignments}/${name}`, assignmentOf({ roles: [name] }));
      }
      await suite.listed(roles, names);
      await suite.listed(assignments, names);
      await suite.remove(...names.map((name) => `${assignments}/${name}`), ...names.map((name) => `${roles}/${name}`));
    },
  },
  {
    name: 'Authorization.V1.RoleConstraintsValidation',
    async run(suite) {
      await refusesEnvelope(suite, roles, roleOf().spec ?? {});
      const at = '/spec/permissions/0';
      await refusesEach(suite, `${roles}/fine`, roleOf, [
        [{ provider: '' }, `${at}/provider`],
        [{ provider: 'p'.repeat(65) }, `${at}/provider`],
        [{ resources: [] }, `${at}/resources`],
        [{ resources: many(257, 'images/a') }, `${at}/resources`],
        [{ resources: [''] }, `${at}/resources/0`],
        [{ resources: ['i'.repeat(257)] }, `${at}/resources/0`],
        [{ verb: [] }, `${at}/verb`],
        [{ verb: Array.from({ length: 17 }, () => 'GET') }, `${at}/verb`],
        [{ verb: [''] }, `${at}/verb/0`],
        [{ verb: ['v'.repeat(8)] }, `${at}/verb/0`],
      ]);
      await suite.refused(`${roles}/fine`, { spec: { permissions: [] } }, 422, '/spec/permissions');
      const permissions = Array.from({ length: 257 }, () => permission);
      await suite.refused(`${roles}/fine`, { spec: { permissions } }, 422, '/spec/permissions');
    },
  },
  {
    name: 'Authorization.V1.RoleAssignmentConstraintsValidation',
    async run(suite) {
      await refusesEnvelope(suite, assignments, assignmentOf().spec ?? {});
      const bounds = (name: string, most: number, longest: number, pointer: string, of: (value: readonly string[]) => object) =>
        [
          [of(many(most + 1, name)), pointer],
          [of(['']), `${pointer}/0`],
          [of(['n'.repeat(longest + 1)]), `${pointer}/0`],
        ] as const;
      const scope = (part: string) => (value: readonly string[]) => ({ scopes: [{ [part]: value }] });
      await refusesEach(suite, `${assignments}/fine`, assignmentOf, [
        ...bounds('role', 32, 64, '/spec/roles', (value) => ({ roles: value })),
        [{ roles: [] }, '/spec/roles'],
        ...bounds('sub', 256, 128, '/spec/subs', (value) => ({ subs: value })),
        [{ subs: [] }, '/spec/subs'],
        [{ scopes: [] }, '/spec/scopes'],
        [{ scopes: Array.from({ length: 257 }, () => ({})) }, '/spec/scopes'],
        ...bounds('tenant', 64, 64, '/spec/scopes/0/tenants', scope('tenants')),
        ...bounds('region', 64, 64, '/spec/scopes/0/regions', scope('regions')),
        ...bounds('ws', 256, 64, '/spec/scopes/0/workspaces', scope('workspaces')),
      ]);
    },
  },
  {
    name: 'Authorization.V1.RoleError',
    async run(suite) {
      await suite.refused(`${roles}/fine`, roleOf({ provider: 'seca.nothing' }), 422, '/spec/permissions/0/provider');
      await suite.refused(`${roles}/fine`, { spec: {} }, 422, '/spec/permissions');
      await suite.refused(`${roles}/fine`, roleOf({ verb: ['CONNECT'] }), 422, '/spec/permissions/0/verb/0');
    },
  },
  {
    name: 'Authorization.V1.RoleAssignmentError',
    contradicts:
      'refuses a role and a workspace that are not there, which Authorization.V1.RoleAssignmentLifeCycle and Usage.V1.MultiWorkspaceIsolation name before they are made',
    async run(suite) {
      await withWorkspace(suite, 'au-error', async () => {
        await suite.create(`${roles}/seca-test`, roleOf());
        await refusesEach(suite, `${assignments}/fine`, assignmentOf, [
          [{ subs: ['nobody@example.org'] }, '/spec/subs/0'],
          [{ scopes: [{ tenants: ['absent'] }] }, '/spec/scopes/0/tenants/0'],
          [{ scopes: [{ regions: ['absent'] }] }, '/spec/scopes/0/regions/0'],
        ]);
        const ahead = [
          [{ roles: ['au-later'] }, '/spec/roles/0'],
          [{ scopes: [{ workspaces: ['au-later'] }] }, '/spec/scopes/0/workspaces/0'],
        ] as const;
        if (suite.profile === 'standard') await refusesEach(suite, `${assignments}/fine`, assignmentOf, ahead);
        else for (const [more] of ahead) await goesOn(suite, assignmentOf(more));
        await suite.remove(`${roles}/seca-test`);
      });
    },
  },
];
