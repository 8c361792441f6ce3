import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { startTestControlPlane, type TestControlPlane } from '@virt8ra/client/testing';
import { agentRelease, host } from '@virt8ra/contract';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { buildCli, createHome, type Home } from '../testing/run-cli.js';

let plane: TestControlPlane;
let home: Home;

beforeAll(buildCli, 120_000);
beforeEach(async () => {
  plane = await startTestControlPlane();
  home = createHome();
  const context = { server: plane.url, token: plane.token, tenant: 't', workspace: 'w' };
  mkdirSync(join(home.folder, 'config/virt8ra'), { recursive: true });
  writeFileSync(join(home.folder, 'config/virt8ra/config.json'), JSON.stringify({ current: 'test', contexts: { test: context } }));
  for (const [name, agentVersion] of [
    ['a', '0.2.0'],
    ['b', '0.1.0'],
    ['c', '0.1.0'],
  ] as const) {
    const connected = { value: true, source: `agent/${name}`, observedAt: '2026-01-01T00:00:00.000Z' };
    plane.set(host, { name }, { spec: { siteRef: 'sites/north' }, status: { conditions: [], state: 'active', agentVersion, connected } });
  }
});
afterEach(async () => {
  await plane.stop();
  rmSync(home.folder, { recursive: true });
});

const update = (phase: string, more: object = {}) => ({
  order: 'order-1',
  version: '0.2.0',
  orderedAt: '2026-01-01T00:00:00.000Z',
  phase,
  ...more,
});
const ordered = (): string[] =>
  plane.seen.filter(({ method, path }) => method === 'POST' && path.endsWith('/update')).map(({ path }) => path.split('/').at(-2) ?? '');

describe('update', () => {
  it('takes one host after the other, passes over those that run the version, and ends with the first that fails', async () => {
    plane.onChange = (kind, address) => {
      plane.setStatus(kind, address, { update: update('waiting') });
      setTimeout(() => plane.setStatus(kind, address, { update: update('trying') }), 50);
      const end =
        address.name === 'b'
          ? { update: update('done'), agentVersion: '0.2.0' }
          : { update: update('failed', { problem: { code: 'internal', message: 'it did not link' } }) };
      setTimeout(() => plane.setStatus(kind, address, end), 150);
    };
    plane.set(host, { name: 'd' }, { spec: { siteRef: 'sites/north' }, status: { conditions: [], state: 'active' } });
    plane.set(host, { name: 'far' }, { spec: { siteRef: 'sites/south' }, status: { conditions: [], state: 'active' } });
    const done = await home.run(['update', '--site', 'north', '--to', '0.2.0']);
    expect(done.out).toBe('host/a runs 0.2.0 already\nhost/b runs 0.2.0\n');
    expect(done.code).toBe(1);
    expect(done.err).toContain('host/b  0.1.0 to 0.2.0  trying');
    expect(done.err).toContain('host/c was not updated: it did not link. It runs 0.1.0.');
    expect(done.err).toContain('not touched: host/d');
    expect(ordered()).toEqual(['b', 'c']);
  });

  it('follows an order that is under way instead of giving another', async () => {
    plane.setStatus(host, { name: 'b' }, { update: update('fetching') });
    void plane.streamOpened().then(() => plane.setStatus(host, { name: 'b' }, { update: update('done'), agentVersion: '0.2.0' }));
    expect(await home.run(['update', 'b', '--to', '0.2.0'])).toMatchObject({ code: 0, out: 'host/b runs 0.2.0\n' });
    expect(ordered()).toEqual([]);
  });

  it('wants to know which hosts, and how long', async () => {
    expect(await home.run(['update', '--to', '0.2.0'])).toMatchObject({
      code: 2,
      err: expect.stringContaining('name hosts, or choose them'),
    });
    expect((await home.run(['update', 'b', '--site', 'north', '--to', '0.2.0'])).code).toBe(2);
    expect((await home.run(['update', 'b', '--to', '0.2.0', '--trial', 'soon'])).code).toBe(2);
    plane.onChange = (kind, address) => plane.setStatus(kind, address, { update: update('waiting') });
    const late = await home.run(['update', 'b', '--to', '0.2.0', '--timeout', '1s']);
    expect(late).toMatchObject({ code: 8, err: expect.stringContaining('was not updated within 1s') });
    expect(late.err).toContain('the order stands');
  });
});

describe('release add', () => {
  it('names the release after its file, and sends it', async () => {
    writeFileSync(join(home.folder, 'virt8ra-agent-0.2.0-linux-amd64.tar.gz'), 'content');
    plane.onChange = (kind, address, verb) => {
      if (verb === 'put') plane.setStatus(kind, address, { phase: 'waiting-for-content' });
      if (verb === 'content') plane.setStatus(agentRelease, address, { phase: 'ready', version: '0.2.0', architecture: 'amd64' });
    };
    expect(await home.run(['release', 'add', 'virt8ra-agent-0.2.0-linux-amd64.tar.gz'])).toMatchObject({
      code: 0,
      out: 'agent-release/0.2.0-linux-amd64 ready: virt8ra-agent 0.2.0 for amd64\n',
    });
    expect(plane.contentOf('0.2.0-linux-amd64').toString()).toBe('content');
    expect(await home.run(['release', 'add', 'nothing.tar.gz'])).toMatchObject({
      code: 2,
      err: expect.stringContaining('cannot read nothing.tar.gz'),
    });
  });
});
