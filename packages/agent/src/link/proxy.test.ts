import { randomBytes } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type DesiredState, Problem } from '@virt8ra/contract';
import { type ConnectProxy, startConnectProxy } from '@virt8ra/outbound/testing';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { parseConfig } from '../config.js';
import { Board } from '../desired/board.js';
import { silentLog } from '../log.js';
import { runUpload } from '../mover/run-upload.js';
import { dialStream } from '../streams/dial-stream.js';
import { FakeControlPlane } from '../testing/fake-control-plane.js';
import { artifactSource } from './artifact-source.js';
import { enrol, renew } from './enrol.js';
import { probe } from './exchange.js';
import { openIdentityStore, withWay } from './identity.js';
import { type Link, openLink } from './link.js';

let plane: FakeControlPlane;
let proxy: ConnectProxy;
let folder: string;
let link: Link | undefined;

beforeEach(async () => {
  plane = await FakeControlPlane.start();
  // The one name of the control plane that this host knows is one that the proxy alone can resolve.
  proxy = await startConnectProxy({ lead: (host) => (host === 'plane.test' ? '127.0.0.1' : undefined), user: 'factory:floor' });
  folder = mkdtempSync(join(tmpdir(), 'v8p-'));
});
afterEach(async () => {
  await link?.stop();
  link = undefined;
  await proxy.close();
  await plane.stop();
  rmSync(folder, { recursive: true, force: true });
});

const configOf = (environment: Readonly<Record<string, string>>) => parseConfig({ state: folder }, environment, () => '', 1000);

it('an agent that has only a proxy enrols, links, renews, fetches, uploads and dials streams through it', async () => {
  const given = proxy.url.replace('http://', 'http://factory:floor@');
  const server = new URL(plane.url.replace('127.0.0.1', 'plane.test'));
  const store = openIdentityStore(folder);
  const order = { server, token: plane.token('alpha'), caSha256: plane.authority.sha256 };
  await enrol(order, store, silentLog, configOf({ VIRT8RA_AGENT_PROXY: given }).proxies);

  // The service that is started later is told nothing: the way of the enrolment is kept. What the environment says for all is never kept.
  const kept = await store.load();
  if (kept === undefined) throw new Error('not enrolled');
  let self = withWay(kept, configOf({ HTTPS_PROXY: 'http://127.0.0.1:1' }).proxies);
  expect(withWay(kept, configOf({ VIRT8RA_AGENT_PROXY: 'none' }).proxies).proxies).toEqual({});
  self = await renew(self, store);
  expect(JSON.parse(readFileSync(join(folder, 'identity', 'identity.json'), 'utf8'))).not.toHaveProperty('proxies');

  const followed = new Promise<DesiredState>((resolve) => {
    link = openLink({
      identity: () => self,
      bootId: 'boot',
      features: [],
      board: new Board(),
      generation: () => 0,
      told: () => ({ epoch: null, state: { generation: 0, networks: [], volumes: [], instances: [], transfers: [] } }),
      accept: async (_epoch, state) => resolve(state),
      inventory: async () => {
        throw new Problem('unavailable', 'none here');
      },
      openStream: () => undefined,
      log: silentLog,
      backoffMs: { least: 5, most: 20 },
    });
  });
  plane.want('alpha', {});
  await followed;
  expect(link?.localAddress).toMatch(/127\.0\.0\.1$/);
  expect((await probe(new URL('/agent/v1/artifacts/none', self.server), self)).status).toBe(404);

  const { sha256, bytes } = plane.addArtifact(randomBytes(100_000));
  let came = 0;
  for await (const piece of await artifactSource(() => self).open(sha256, 0, new AbortController().signal))
    came += (piece as Buffer).length;
  expect(came).toBe(bytes);

  const file = join(folder, 'backup');
  writeFileSync(file, randomBytes(300_000));
  const notices: string[] = [];
  await runUpload({
    config: { file, server: self.server, path: '/agent/v1/backups/b1/0', credentials: self },
    commands: { signal: new AbortController().signal },
    log: silentLog,
    notify: ({ type }) => notices.push(type),
  });
  expect(notices.at(-1)).toBe('finished');
  expect(plane.uploads.get('/agent/v1/backups/b1/0')?.content.equals(readFileSync(file))).toBe(true);

  await expect(dialStream(self, 'unknown', self.server)).rejects.toMatchObject({ kind: 'unavailable' });
  expect(new Set(proxy.asked)).toEqual(new Set([server.host]));
  expect(proxy.asked.length).toBeGreaterThan(8);

  // A proxy that cuts everything is nothing but a link that breaks.
  const before = plane.view('alpha').connections;
  proxy.cut();
  await expect.poll(() => plane.view('alpha').connections).toBeGreaterThan(before);
  expect(existsSync(join(folder, 'identity', 'identity.json'))).toBe(true);
});
