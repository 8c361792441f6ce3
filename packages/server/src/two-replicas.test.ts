import { createHash } from 'node:crypto';
import { get } from 'node:http';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type ControlPlane, startControlPlane } from './testing/control-plane.js';

const authorization = '/providers/seca.authorization/v1/tenants/default';
const workspaces = '/providers/seca.workspace/v1/tenants/default/workspaces';
const accounts = '/providers/virt8ra.identity/v1beta1/tenants/default/service-accounts';

let plane: ControlPlane;
let other: string;
beforeAll(async () => {
  plane = await startControlPlane();
  other = await plane.addReplica();
  for (const name of ['prod', 'test']) expect((await plane.call('PUT', `${workspaces}/${name}`, { spec: {} })).status).toBe(201);
}, 120_000);
afterAll(async () => await plane?.stop(), 60_000);

const ask = async (token: string, path: string): Promise<number> => {
  const answer = await fetch(`${other}${path}`, { headers: { authorization: `Bearer ${token}` } });
  await answer.arrayBuffer();
  return answer.status;
};
/** By how many milliseconds the other replica has let somebody outlive what is done at this one. */
async function outlived(token: string, path: string, revoke: () => Promise<unknown>): Promise<number> {
  await expect.poll(async () => await ask(token, path)).toBe(200);
  await revoke();
  const done = performance.now();
  for (let last = done; ; ) {
    const begun = performance.now();
    if ((await ask(token, path)) !== 200) return last - done;
    last = begun;
    if (last - done > 5000) return last - done;
  }
}
const assign = async (name: string, spec: object): Promise<void> => {
  expect([200, 201]).toContain((await plane.call('PUT', `${authorization}/role-assignments/${name}`, { spec })).status);
};

describe('two servers', () => {
  it('let nothing that was taken away at one outlive a second at the other, be it a role, an assignment, its scope or an account', {
    timeout: 60_000,
  }, async () => {
    const bob = await plane.tokenFor('--subject', 'bob', '--tenants', 'default', '--roles', 'none');
    const give = async (): Promise<void> => await assign('bob', { subs: ['bob'], roles: ['looker'], scopes: [{ workspaces: ['prod'] }] });
    const look = async (provider: string): Promise<void> => {
      const permissions = [{ provider, resources: ['*'], verb: ['get', 'list'] }];
      expect([200, 201]).toContain((await plane.call('PUT', `${authorization}/roles/looker`, { spec: { permissions } })).status);
    };
    await look('seca.workspace');
    const late: Record<string, number> = {};
    await give();
    late['assignment'] = await outlived(
      bob,
      `${workspaces}/prod`,
      async () => await plane.call('DELETE', `${authorization}/role-assignments/bob`),
    );
    await give();
    late['role'] = await outlived(bob, `${workspaces}/prod`, async () => await look('seca.storage'));
    await look('seca.workspace');
    late['scope'] = await outlived(
      bob,
      `${workspaces}/prod`,
      async () => await assign('bob', { subs: ['bob'], roles: ['looker'], scopes: [{ workspaces: ['test'] }] }),
    );
    await give();
    late['subject'] = await outlived(
      bob,
      `${workspaces}/prod`,
      async () => await assign('bob', { subs: ['cleo'], roles: ['looker'], scopes: [{}] }),
    );

    expect((await plane.call('PUT', `${accounts}/ci`, { spec: {} })).status).toBe(201);
    const { body } = await plane.call('POST', `${accounts}/ci/token`);
    const { token } = body as { readonly token: string };
    late['account'] = await outlived(
      token,
      '/providers/virt8ra.identity/v1beta1/whoami',
      async () => await plane.call('DELETE', `${accounts}/ci`),
    );
    expect(Math.max(...Object.values(late)), JSON.stringify(late)).toBeLessThanOrEqual(1000);
  });

  it('show a watcher at one nothing of what was taken from it at the other', { timeout: 60_000 }, async () => {
    const eve = await plane.tokenFor('--subject', 'eve', '--tenants', 'default', '--roles', 'none');
    await assign('eve', { subs: ['eve'], roles: ['seca.workspace-viewer'], scopes: [{}] });
    let text = '';
    const call = get(
      `${other}/providers/virt8ra.events/v1beta1/tenants/default/events?kinds=workspace`,
      { headers: { authorization: `Bearer ${eve}` } },
      (message) => {
        message.setEncoding('utf8').on('data', (more: string) => {
          text += more;
        });
        message.on('error', () => undefined);
      },
    );
    call.on('error', () => undefined);
    const label = async (value: string): Promise<void> => {
      expect((await plane.call('PUT', `${workspaces}/prod`, { labels: { value }, spec: {} })).status).toBe(200);
    };
    await expect.poll(() => text).toContain('beat');
    await label('shown');
    await expect.poll(() => text).toContain('"shown"');
    const took = await outlived(eve, `${workspaces}/prod`, async () => await plane.call('DELETE', `${authorization}/role-assignments/eve`));
    expect(took).toBeLessThanOrEqual(1000);
    await label('hidden');
    await assign('eve', { subs: ['eve'], roles: ['seca.workspace-viewer'], scopes: [{}] });
    await expect.poll(async () => await ask(eve, `${workspaces}/prod`)).toBe(200);
    await label('again');
    await expect.poll(() => text).toContain('"again"');
    expect(text).not.toContain('"hidden"');
    call.destroy();
  });

  it('have every token in their audit that was made beside them, and none is made that could not be', async () => {
    const token = await plane.tokenFor('--subject', 'zoe', '--tenants', 'default', '--roles', 'none', '--days', '2');
    const page = await plane.call('GET', '/providers/virt8ra.audit/v1beta1/tenants/default/entries');
    const { items } = page.body as {
      readonly items: readonly { readonly verb: string; readonly resource: string; readonly subject: string; readonly after?: string }[];
    };
    const row = items.find(({ verb, resource }) => verb === 'post.token' && resource.endsWith('/subjects/zoe'));
    expect(row?.subject).toMatch(/^local:\w+/);
    expect(JSON.parse(row?.after ?? '{}')).toEqual({
      tenants: ['default'],
      operator: false,
      roles: [],
      lifetimeSeconds: 2 * 24 * 3600,
      sha256: createHash('sha256').update(token).digest('hex'),
    });
    expect(JSON.stringify(items)).not.toContain(token);
    const operator = await plane.tokenFor('--subject', 'root', '--operator');
    const all = await plane.call('GET', '/providers/virt8ra.audit/v1beta1/entries?limit=50');
    expect(JSON.stringify(all.body)).toContain(createHash('sha256').update(operator).digest('hex'));
    await expect(
      plane.tokenFor('--subject', 'zoe', '--tenants', 'default', '--database-url', 'postgres://localhost:1/none'),
    ).rejects.toMatchObject({ kind: 'unavailable' });
  });
});
