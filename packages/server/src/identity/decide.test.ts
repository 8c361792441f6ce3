import {
  image,
  instance,
  type Kind,
  kinds,
  type Permission,
  partsOfScope,
  type RoleScope,
  role,
  subnet,
  workspace,
} from '@virt8ra/contract';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { compilePermission, itemsToReach, namesToList, permits, type Question, type Sight } from './decide.js';
import { systemRoles } from './system-roles.js';

const region = 'eu';
const sightOf = (permissions: readonly Permission[], scopes: readonly RoleScope[] = [{}], within?: RoleScope): Sight => ({
  grants: [{ scopes, permissions: permissions.map(compilePermission) }],
  within,
  region,
});
const on = (kind: Kind, verb: string, name?: string, place: Partial<Question['place']> = {}): Question => ({
  kind,
  verb,
  place: {
    tenant: 'acme',
    ...(kind.scope === 'tenant' ? {} : { workspace: 'prod' }),
    ...(kind.scope === 'network' ? { network: 'net' } : {}),
    ...place,
  },
  ...(name === undefined ? {} : { name }),
});

/** By hand: which of the patterns mean `x`, which `y`; the others mean neither. */
const patterns: Readonly<
  Record<string, { readonly x: readonly string[]; readonly y: readonly string[]; readonly neither: readonly string[] }>
> = {
  image: {
    x: ['*', 'images/*', 'images/x', '*/x', 'tenants/acme/images/x', 'tenants/*/images/*'],
    y: ['*', 'images/*', 'tenants/*/images/*'],
    neither: ['images', 'skus/*', 'tenants/other/images/x', 'images/x/*', 'workspaces/prod/images/x'],
  },
  instance: {
    x: ['*', 'instances/*', 'instances/x', 'workspaces/prod/instances/*', 'tenants/acme/workspaces/*/instances/x'],
    y: ['*', 'instances/*', 'workspaces/prod/instances/*'],
    neither: ['instances', 'skus/*', 'workspaces/test/instances/*', 'workspaces/prod', 'workspaces/*'],
  },
  subnet: {
    x: ['*', 'subnets/*', 'networks/net/subnets/*', 'networks/*/subnets/x', 'workspaces/prod/networks/net/subnets/x'],
    y: ['*', 'subnets/*', 'networks/net/subnets/*'],
    neither: ['networks/*', 'networks/net', 'networks/other/subnets/*', 'subnets', 'networks/net/subnets'],
  },
  workspace: {
    x: ['*', 'workspaces/*', 'workspaces/x', 'tenants/acme/workspaces/x'],
    y: ['*', 'workspaces/*'],
    neither: ['workspaces', 'workspaces/prod', 'instances/*'],
  },
};
const verbs = ['get', 'put', 'delete', 'post.start', 'post.stop'];
const words: readonly (readonly [string[], string[]])[] = [
  [['GET'], ['get']],
  [
    ['put', 'Delete'],
    ['put', 'delete'],
  ],
  [['post'], ['post.start', 'post.stop']],
  [['POST.start'], ['post.start']],
  [['list'], []],
];
/** Where they hold: `of` a resource in workspace prod (or workspace x itself), and of one that is of no workspace. */
const scopes: readonly {
  readonly scope: RoleScope;
  readonly inProd: boolean;
  readonly beside: boolean;
  readonly x: boolean;
  readonly y: boolean;
}[] = [
  { scope: {}, inProd: true, beside: true, x: true, y: true },
  { scope: { tenants: ['acme'], regions: [] }, inProd: true, beside: true, x: true, y: true },
  { scope: { tenants: ['other'] }, inProd: false, beside: false, x: false, y: false },
  { scope: { regions: [region] }, inProd: true, beside: true, x: true, y: true },
  { scope: { regions: ['us'] }, inProd: false, beside: false, x: false, y: false },
  { scope: { workspaces: ['prod'] }, inProd: true, beside: false, x: false, y: false },
  { scope: { workspaces: ['test', 'x'] }, inProd: false, beside: false, x: true, y: false },
  { scope: { tenants: ['acme'], regions: [region], workspaces: ['prod', 'y'] }, inProd: true, beside: false, x: false, y: true },
];

describe('what a permission allows', () => {
  it.each([image, instance, subnet, workspace])('is so for every pattern, verb and scope: $kind', (kind) => {
    const of = patterns[kind.kind] ?? { x: [], y: [], neither: [] };
    for (const name of ['x', 'y'] as const)
      for (const pattern of new Set([...of.x, ...of.y, ...of.neither]))
        for (const [word, meant] of words)
          for (const { scope, ...holds } of scopes)
            for (const provider of [kind.provider, `${kind.provider}/v1`, 'seca.other'])
              for (const verb of verbs) {
                const place = kind.scope === 'tenant' ? (kind.kind === 'workspace' ? holds[name] : holds.beside) : holds.inProd;
                const expected = provider !== 'seca.other' && of[name].includes(pattern) && meant.includes(verb) && place;
                const permission = { provider, resources: [pattern], verb: word };
                const answer = permits(sightOf([permission], [scope]), on(kind, verb, name));
                if (answer !== expected) expect(answer, JSON.stringify([permission, scope, verb, name])).toBe(expected);
              }
    expect(of.x.length).toBeGreaterThan(3);
  });

  it('gives authorization, which is of no region, only where regions are open', () => {
    const sight = (regions: string[]) => sightOf([{ provider: role.provider, resources: ['*'], verb: ['get'] }], [{ regions }]);

    expect(permits(sight([]), on(role, 'get', 'x'))).toBe(true);
    expect(permits(sight([region]), on(role, 'get', 'x'))).toBe(false);
  });

  it('reaches of a collection exactly the items that it permits one by one, whatever the roles, their scopes and the bounds of a token', () => {
    const segment = fc.constantFrom(
      '*',
      'x',
      'y',
      'acme',
      'prod',
      'net',
      'tenants',
      'workspaces',
      'networks',
      'instances',
      'images',
      'subnets',
    );
    const told = fc.constantFrom(...Object.values(patterns).flatMap(({ x, neither }) => [...x, ...neither]));
    const pattern = fc.oneof(
      told,
      fc.array(segment, { minLength: 1, maxLength: 6 }).map((segments) => segments.join('/')),
    );
    const some = <Value>(of: fc.Arbitrary<Value>) => fc.array(of, { maxLength: 3 });
    const permission = fc.record({
      provider: fc.constantFrom(image.provider, instance.provider, subnet.provider, workspace.provider),
      resources: some(pattern),
      verb: some(fc.constantFrom('get', 'list', 'post', 'PUT')),
    });
    const scope = fc.record(
      {
        tenants: some(fc.constantFrom('acme', 'other')),
        regions: some(fc.constantFrom(region, 'us')),
        workspaces: some(fc.constantFrom('prod', 'x', 'y')),
      },
      { requiredKeys: [] },
    );
    const grants = some(fc.record({ scopes: some(scope), permissions: some(permission.map(compilePermission)) }));
    const kind = fc.constantFrom(image, instance, subnet, workspace);
    const answers = new Set<boolean>();
    fc.assert(
      fc.property(
        grants,
        fc.option(scope, { nil: undefined }),
        kind,
        fc.constantFrom('get', 'post.start', 'put'),
        (given, within, of, verb) => {
          const sight: Sight = { grants: given, within, region };
          const items = itemsToReach(sight, on(of, verb));
          for (const name of ['x', 'y', 'prod']) {
            const permitted = permits(sight, on(of, verb, name));
            answers.add(permitted);
            expect(items === 'all' || items.has(name)).toBe(permitted);
            expect(itemsToReach(sight, on(of, verb, name))).toEqual(items);
          }
        },
      ),
      { seed: 7, numRuns: 3000 },
    );
    expect(answers.size).toBe(2);
  });

  it('takes grants apart: neither scopes nor permissions of one serve another', () => {
    const get = (resources: string[]): Permission => ({ provider: instance.provider, resources, verb: ['get'] });
    const sight: Sight = {
      grants: [
        { scopes: [{ workspaces: ['prod'] }], permissions: [compilePermission(get(['instances/a']))] },
        { scopes: [{ workspaces: ['test'] }], permissions: [compilePermission(get(['instances/b']))] },
      ],
      within: undefined,
      region,
    };

    expect(permits(sight, on(instance, 'get', 'a'))).toBe(true);
    expect(permits(sight, on(instance, 'get', 'b'))).toBe(false);
    expect(permits(sight, on(instance, 'get', 'b', { workspace: 'test' }))).toBe(true);
  });

  it('lists a collection whole, or what the subject has in it, or nothing', () => {
    const list = (kind: Kind, resources: string[], scopes?: RoleScope[], within?: RoleScope) =>
      namesToList(sightOf([{ provider: kind.provider, resources, verb: ['list'] }], scopes, within), on(kind, 'list'));

    expect(list(image, ['*'])).toBeUndefined();
    expect(list(image, ['images'])).toBeUndefined();
    expect(list(image, ['images/*'])).toBeUndefined();
    expect(list(image, ['images/x', 'images/y', 'skus/z'])).toEqual(['x', 'y']);
    expect(list(image, ['images/x'], [{ workspaces: ['prod'] }])).toEqual([]);
    expect(list(image, ['images/x'], [{}], { workspaces: ['prod'] })).toEqual([]);
    expect(list(subnet, ['networks/*'])).toEqual([]);
    expect(list(subnet, ['networks/net/subnets/x', 'subnets/y'])).toEqual(['x', 'y']);
    expect(list(workspace, ['*'], [{ workspaces: ['a', 'b'] }])).toEqual(['a', 'b']);
    expect(list(workspace, ['workspaces/b', 'workspaces/c'], [{ workspaces: ['a', 'b'] }])).toEqual(['b']);
    expect(list(workspace, ['workspaces/*'], [{}], { workspaces: ['a'] })).toEqual(['a']);
    expect(list(workspace, ['workspaces/*'], [{ workspaces: ['a', 'b'] }], { workspaces: ['b', 'c'] })).toEqual(['b']);
    expect(list(workspace, ['workspaces/*'], [{ workspaces: ['a'] }, {}])).toBeUndefined();
    expect(list(workspace, ['workspaces/*'], [{}], { tenants: ['other'] })).toEqual([]);
    expect(list(workspace, ['workspaces/*'], [{}], { tenants: ['acme'] })).toBeUndefined();
  });
});

describe('system roles', () => {
  const roles = systemRoles(kinds);
  const inProd: readonly RoleScope[] = [{ workspaces: ['prod'] }];
  const may = (name: string, scopes: readonly RoleScope[], question: Question): boolean =>
    permits(sightOf(roles[name] ?? [], scopes), question);

  it('allow what they are called, for every kind there is', () => {
    for (const kind of kinds.filter((each) => each.scope !== 'global')) {
      const inside = partsOfScope[kind.scope].includes('workspace');
      for (const verb of ['get', 'put', 'delete', 'post.any']) {
        const question = on(kind, verb, 'prod');
        const of = (name: string, scopes: readonly RoleScope[] = [{}]): boolean => may(name, scopes, question);
        expect(of('seca.admin'), kind.kind).toBe(true);
        expect(of('seca.region-admin', [{ regions: [region] }]), kind.kind).toBe(kind.regional);
        expect(of('seca.workspace-admin', inProd), kind.kind).toBe(inside || kind.kind === 'workspace');
        expect(of('seca.workspace-editor', inProd), kind.kind).toBe(inside || (kind.kind === 'workspace' && verb === 'get'));
        expect(of('seca.workspace-viewer', inProd), kind.kind).toBe((inside || kind.kind === 'workspace') && verb === 'get');
        expect(of('seca.workspace-admin', [{ workspaces: ['test'] }]), kind.kind).toBe(false);
      }
    }
  });
});
