import type { Resource } from '@virt8ra/contract';
import { startConnectProxy } from '@virt8ra/outbound/testing';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { pruneResources } from '../resources/housekeeping.js';
import { type Received, startReceiver, type TestReceiver, verifies } from './testing/receiver.js';
import { type Replica, startWebhookWorld, type WebhookWorld, webhooksPath } from './testing/webhook-world.js';

let world: WebhookWorld;
let receiver: TestReceiver;
const replicas: Replica[] = [];
const start: WebhookWorld['replica'] = async (name, more) => {
  const replica = await world.replica(name, more);
  replicas.push(replica);
  return replica;
};

beforeAll(async () => {
  receiver = await startReceiver(['receiver.test', 'other.test']);
  world = await startWebhookWorld(receiver.ca);
}, 60_000);
afterAll(async () => {
  await world?.stop();
  await receiver?.stop();
});
afterEach(async () => {
  for (const replica of replicas.splice(0)) await replica.stop();
  const { body } = await world.call('GET', webhooksPath);
  for (const { metadata } of (body as { items: Resource[] }).items) await world.call('DELETE', `${webhooksPath}/${metadata.name}`);
  receiver.received.splice(0);
  receiver.reply = () => ({});
});

const countOf = ({ event }: Received): string | undefined =>
  (event.data.resource as { labels?: { count?: string } } | undefined)?.labels?.count;
const counts = (path: string): (string | undefined)[] => receiver.at(path).map(countOf);
const onlyFirst = (all: readonly (string | undefined)[]): (string | undefined)[] => [...new Set(all)];
/** What is revoked holds for a second more at most. */
const forgotten = async () => await new Promise((resolve) => setTimeout(resolve, 1050));
const workspaces = { kinds: ['workspace'], types: ['put'] };
const poll = (look: () => unknown) => expect.poll(look, { timeout: 15_000, interval: 20 });

describe('a webhook', () => {
  it('tells every change once, in order, signed by both secrets while they overlap, and shows what was seen', async () => {
    await start('one');
    await world.put('hook', { url: receiver.url('/hook'), ...workspaces });
    const first = (await world.act('hook', 'secret')) as { secret: string };
    const second = (await world.act('hook', 'secret')) as { secret: string; previousUntil: string };
    expect(second.secret).toMatch(/^whsec_.{44}$/);
    const made: string[] = [];
    for (let index = 0; index < 25; index += 1) made.push(await world.change(`w${index % 3}`));
    await poll(() => counts('/hook')).toEqual(made);
    const all = receiver.at('/hook');
    expect(new Set(all.map(({ id }) => id)).size).toBe(25);
    for (const one of all) {
      expect(one.id).toMatch(/^epoch123-\d+\.\d+$/);
      expect(one.event).toMatchObject({
        type: 'workspace.put',
        timestamp: expect.stringMatching(/Z$/),
        data: { type: 'put', kind: 'workspace' },
      });
      for (const { secret } of [first, second]) expect(verifies(one, secret)).toBe(true);
      expect(verifies({ ...one, body: `${one.body} ` }, second.secret)).toBe(false);
      expect(verifies(one, second.secret, Date.now() + 600_000)).toBe(false);
    }
    await world.act('hook', 'secret', { secret: first.secret, overlapSeconds: 0 });
    const last = await world.change('w0');
    await poll(() => counts('/hook').at(-1)).toBe(last);
    const newest = receiver.at('/hook').at(-1) as Received;
    expect([verifies(newest, first.secret), verifies(newest, second.secret)]).toEqual([true, false]);
    await poll(async () => (await world.status('hook')).deliveries[0]?.id).toBe(newest.id);
    const status = await world.status('hook');
    expect(status).toMatchObject({ state: 'active', owner: 'ann', failures: 0, lastAttempt: { answer: 204 } });
    expect(status.deliveries).toHaveLength(20);
    expect(status.deliveries[0]).toMatchObject({ type: 'workspace.put', attempts: 1, delivered: true, answer: 204 });
    const { body } = await world.call('GET', `${webhooksPath}/hook`);
    for (const text of [JSON.stringify(body), JSON.stringify(world.log.lines)]) {
      for (const { secret } of [first, second]) expect(text).not.toContain(secret.slice(6, 40));
    }
    const { rows } = await world.pool.query('select secret, previous_secret from webhook_state');
    expect(JSON.stringify(rows)).not.toContain(first.secret.slice(6, 40));
  });

  it('repeats under the same id what was lost, late or refused, and nothing behind it goes before', async () => {
    await start('one', { limits: { timeoutMs: 150 } });
    await world.put('hook', { url: receiver.url('/hook'), ...workspaces });
    const troubles = [{ cut: true }, { status: 503 }, { delayMs: 400 }, { status: 302, headers: { location: receiver.url('/elsewhere') } }];
    receiver.reply = (_one, count) => troubles[count - 1] ?? {};
    const made = [await world.change('w0'), await world.change('w1')];
    await poll(() => onlyFirst(counts('/hook'))).toEqual(made);
    const ids = receiver.at('/hook').map(({ id }) => id);
    expect(new Set(ids.slice(0, 5)).size).toBe(1);
    expect(new Set(ids).size).toBe(2);
    expect(receiver.at('/elsewhere')).toEqual([]);
    const delivery = async () => (await world.status('hook')).deliveries.find(({ id }) => id === ids[0]);
    await poll(delivery).toMatchObject({ attempts: 5, delivered: true });
    await poll(async () => (await world.status('hook')).state).toBe('active');
    const { conditions } = await world.status('hook');
    expect(conditions.some(({ reason, message }) => reason === 'Failing' && message?.includes('no answer within 0.15 s'))).toBe(true);
  });

  it('leaves a receiver alone for as long as it asks, though changes come and it is looked at', async () => {
    await start('one');
    await world.put('hook', { url: receiver.url('/hook'), ...workspaces });
    receiver.reply = (_one, count) => (count === 1 ? { status: 429, headers: { 'retry-after': '2' } } : {});
    const made = [await world.change('w0')];
    await poll(() => receiver.at('/hook').length).toBe(1);
    for (let index = 0; index < 5; index += 1) made.push(await world.change('w0'));
    await poll(async () => (await world.status('hook')).pending?.id).toBe(receiver.at('/hook')[0]?.id);
    await poll(() => onlyFirst(counts('/hook'))).toEqual(made);
    const [one, two] = receiver.at('/hook');
    expect((two?.at ?? 0) - (one?.at ?? 0)).toBeGreaterThanOrEqual(1900);
  });

  it('is suspended by 410, and by a receiver that is away for too long; resumed, it goes on where it was', async () => {
    await start('one', { limits: { suspendMs: 300 } });
    await world.put('gone', { url: receiver.url('/gone'), ...workspaces });
    receiver.reply = (one) => (one.path === '/gone' ? { status: 410 } : { status: 500 });
    const first = await world.change('w0');
    await poll(async () => (await world.status('gone')).suspended?.why).toContain('410');
    expect(receiver.at('/gone')).toHaveLength(1);
    await world.put('away', { url: receiver.url('/away'), ...workspaces });
    const made = [await world.change('w0'), await world.change('w1')];
    await poll(async () => (await world.status('away')).suspended?.why).toContain('nothing was delivered since');
    const suspended = await world.status('away');
    expect(suspended.state).toBe('error');
    expect(suspended.conditions[0]).toMatchObject({ reason: 'Away', message: expect.stringContaining(suspended.position) });
    const before = receiver.at('/away').length;
    receiver.reply = () => ({});
    // A test reaches it all the same, and is tried once.
    const { id } = (await world.act('away', 'test')) as { id: string };
    await poll(() => receiver.at('/away').some((one) => one.id === id && one.event.type === 'webhook.test')).toBe(true);
    expect(receiver.at('/away')).toHaveLength(before + 1);
    await world.act('away', 'resume');
    await poll(() => onlyFirst(counts('/away').filter((count) => count !== undefined))).toEqual(made);
    await world.act('gone', 'resume', { from: 'now' });
    const last = await world.change('w2');
    await poll(() => onlyFirst(counts('/gone'))).toEqual([first, last]);
    expect(await world.status('gone')).toMatchObject({ state: 'active', failures: 0 });
    // One of the last again: under its own id.
    const old = receiver.at('/away').find((one) => countOf(one) === made[1]) as Received;
    await world.act('away', 'redeliver', { id: old.id });
    await poll(() => receiver.at('/away').filter((one) => one.id === old.id).length).toBeGreaterThan(1);
    expect(new Set(receiver.at('/away').flatMap(({ id: each, body }) => (each === old.id ? [body] : [])))).toEqual(new Set([old.body]));
    expect((await world.call('POST', `${webhooksPath}/away/redeliver`, { id: 'none' })).status).toBe(404);
  });

  it('says to its receiver that changes are lost when the feed no longer holds them, and goes on', async () => {
    await world.put('hook', { url: receiver.url('/hook'), ...workspaces });
    for (let index = 0; index < 4; index += 1) await world.change('w0');
    await poll(async () => (await pruneResources(world.pool, new Date(), { feedRows: 1 })).feed).toBeGreaterThan(0);
    await start('one');
    await poll(() => receiver.at('/hook').map(({ event }) => event.type)).toEqual(['webhook.changes-lost']);
    const last = await world.change('w0');
    await poll(() => counts('/hook').at(-1)).toBe(last);
    expect((await world.status('hook')).conditions[0]?.reason).toBe('ChangesLost');
  });
});

describe('what a webhook tells', () => {
  it('is what whoever put it may read now: not other tenants, not what was revoked, and nothing when they see it no more', async () => {
    const rolesPath = '/providers/seca.authorization/v1/tenants/acme';
    const role = {
      permissions: [
        { provider: 'virt8ra.events', resources: ['webhooks/*'], verb: ['get', 'put'] },
        { provider: 'seca.workspace', resources: ['workspaces/seen'], verb: ['get'] },
      ],
    };
    const ok = async (path: string, spec: unknown): Promise<void> =>
      expect((await world.call('PUT', path, { spec })).status).toBeLessThan(202);
    await ok(`${rolesPath}/roles/watcher`, role);
    await ok(`${rolesPath}/role-assignments/bob`, { subs: ['bob'], roles: ['watcher'], scopes: [{}] });
    await start('one');
    await world.put('bobs', { url: receiver.url('/bob'), ...workspaces }, 'bob');
    await world.put('anns', { url: receiver.url('/ann'), ...workspaces });
    const seen = [await world.change('seen')];
    const hidden = await world.change('hidden');
    await world.change('seen', 'other');
    seen.push(await world.change('seen'));
    await poll(() => counts('/bob')).toEqual(seen);
    await poll(() => counts('/ann')).toEqual([seen[0], hidden, seen[1]]);

    await ok(`${rolesPath}/roles/watcher`, { permissions: [role.permissions[0]] });
    await forgotten();
    const after = await world.change('seen');
    await poll(() => counts('/ann').at(-1)).toBe(after);
    expect((await world.call('DELETE', `${rolesPath}/role-assignments/bob`)).status).toBe(202);
    await forgotten();
    await world.change('seen');
    await poll(async () => (await world.status('bobs')).suspended?.why).toContain('bob, who put it, may no longer read it');
    expect(counts('/bob')).toEqual(seen);
    // Somebody else may answer for it.
    await world.act('bobs', 'resume', { own: true });
    await poll(() => counts('/bob').length).toBeGreaterThan(2);
    expect(await world.status('bobs')).toMatchObject({ owner: 'ann', state: 'active' });
  });

  it('ends with the service account that put it, also when another of its name comes', async () => {
    const accounts = '/providers/virt8ra.identity/v1beta1/tenants/acme/service-accounts/robot';
    expect((await world.call('PUT', accounts, { spec: {} })).status).toBe(201);
    world.subjects['robot'] = { name: 'service-account:acme/robot', operator: false, tenants: ['acme'], roles: ['seca.admin'] };
    await start('one');
    await world.put('hook', { url: receiver.url('/robot'), ...workspaces }, 'robot');
    const made = await world.change('w0');
    await poll(() => counts('/robot')).toEqual([made]);
    expect((await world.call('DELETE', accounts)).status).toBe(202);
    expect((await world.call('PUT', accounts, { spec: {} })).status).toBe(201);
    await forgotten();
    await world.change('w0');
    await poll(async () => (await world.status('hook')).suspended?.why).toContain('no service account any more');
    expect(counts('/robot')).toEqual([made]);
  });

  it('is bounded by kinds, types, workspaces and labels', async () => {
    await start('one');
    await world.put('narrow', {
      url: receiver.url('/narrow'),
      kinds: ['workspace'],
      types: ['deleted'],
      workspaces: ['w7', 'w8'],
      labels: 'count=*',
    });
    await world.change('w6');
    const seven = await world.change('w7');
    for (const name of ['w6', 'w7']) await world.call('DELETE', `/providers/seca.workspace/v1/tenants/acme/workspaces/${name}`);
    await poll(() => counts('/narrow')).toEqual([seven]);
    expect(receiver.at('/narrow')[0]?.event).toMatchObject({ type: 'workspace.deleted', data: { ref: expect.stringContaining('/w7') } });
  });

  it.each([
    [{ url: 'ftp://receiver.test/' }, '/spec/url'],
    [{ url: 'http://receiver.test/' }, '/spec/url'],
    [{ url: 'https://user:pass@receiver.test/' }, '/spec/url'],
    [{ url: 'https://169.254.169.254/latest' }, '/spec/url'],
    [{ url: 'https://[::1]/' }, '/spec/url'],
    [{ url: 'https://10.0.0.1/' }, '/spec/url'],
    [{ url: 'https://receiver.test/', kinds: ['nonsense'] }, '/spec/kinds/0'],
    [{ url: 'https://receiver.test/', labels: '=' }, '/spec/labels'],
  ])('is refused as %j', async (spec, pointer) => {
    const { status, body } = await world.call('PUT', `${webhooksPath}/bad`, { spec });
    expect({ status, sources: (body as { sources: unknown }).sources }).toEqual({ status: 422, sources: [{ pointer }] });
    expect((await world.call('GET', `${webhooksPath}/bad`)).status).toBe(404);
  });

  it('may be told by twenty webhooks of a tenant, however many are made at once', async () => {
    const answers = await Promise.all(
      Array.from({ length: 24 }, (_, index) =>
        world.call('PUT', `${webhooksPath}/h${index}`, { spec: { url: 'https://receiver.test/', enabled: false } }),
      ),
    );
    expect(answers.filter(({ status }) => status === 201)).toHaveLength(20);
    expect(answers.find(({ status }) => status !== 201)).toMatchObject({
      status: 409,
      body: { detail: expect.stringContaining('20 webhooks') },
    });
  });
});

describe('delivery', () => {
  it('is taken over by another replica in the middle; nothing is lost, and what is doubled has the same id', async () => {
    // Whoever takes over has not heard of it before, and learns of it by looking.
    const limits = { writeEvery: 5, idleSeconds: 1 };
    await start('one', { limits });
    await world.put('hook', { url: receiver.url('/hook'), ...workspaces });
    receiver.reply = () => ({ delayMs: 5 });
    const made: string[] = [];
    for (let index = 0; index < 30; index += 1) made.push(await world.change(`w${index % 4}`));
    await poll(() => receiver.at('/hook').length).toBeGreaterThan(7);
    await start('two', { limits });
    await replicas[0]?.stop({ abandon: true });
    for (let index = 0; index < 30; index += 1) made.push(await world.change(`w${index % 4}`));
    await poll(() => onlyFirst(counts('/hook'))).toEqual(made);
    const byId = new Map(receiver.at('/hook').map((one) => [one.id, countOf(one)]));
    expect(byId.size).toBe(60);
    await poll(async () => (await world.status('hook')).deliveries[0]?.id).toBe([...byId.keys()].at(-1));
    // Both at work: no doubled flood.
    await start('three', { limits });
    const before = receiver.at('/hook').length;
    for (let index = 0; index < 20; index += 1) made.push(await world.change(`w${index % 4}`));
    await poll(() => receiver.at('/hook').length).toBe(before + 20);
  });

  it('to one that is slow delays no other', async () => {
    await start('one');
    receiver.reply = (one) => (one.path.startsWith('/slow') ? { delayMs: 3000 } : {});
    for (let index = 0; index < 18; index += 1) await world.put(`slow${index}`, { url: receiver.url(`/slow${index}`), ...workspaces });
    await world.put('quick', { url: receiver.url('/quick'), ...workspaces });
    const made = [await world.change('w0')];
    await poll(() => receiver.received.filter(({ path }) => path.startsWith('/slow')).length).toBe(18);
    const begun = Date.now();
    for (let index = 0; index < 10; index += 1) made.push(await world.change('w1'));
    await poll(() => counts('/quick')).toEqual(made);
    expect(Date.now() - begun).toBeLessThan(2500);
    for (let index = 0; index < 18; index += 1) await world.call('DELETE', `${webhooksPath}/slow${index}`);
  });

  it('goes through the proxy to the address that was checked, and never to one that a name turns to later', async () => {
    const proxy = await startConnectProxy({ lead: () => '127.0.0.1' });
    let address = '93.184.216.34';
    await start('one', { outbound: { proxies: { secure: proxy.url } }, resolve: () => address });
    await world.put('hook', { url: receiver.url('/hook', 'receiver.test'), ...workspaces });
    const made = [await world.change('w0')];
    await poll(() => counts('/hook')).toEqual(made);
    expect(proxy.asked).toEqual([`93.184.216.34:${receiver.port}`]);
    address = '169.254.169.254';
    made.push(await world.change('w0'));
    await poll(async () => (await world.status('hook')).lastAttempt?.problem).toContain('169.254.169.254, which webhooks may not reach');
    expect(proxy.asked).toHaveLength(1);
    address = '93.184.216.34';
    await poll(() => counts('/hook')).toEqual(made);
    await proxy.close();
  });
});
