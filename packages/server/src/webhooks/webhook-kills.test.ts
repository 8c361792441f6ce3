import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startTestPostgres, type TestPostgres } from '@virt8ra/engine/testing';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { buildServer, type ServerProcess, startServer } from '../testing/server-process.js';
import { startReceiver, type TestReceiver } from './testing/receiver.js';

let postgres: TestPostgres;
let receiver: TestReceiver;
let directory: string;
const servers: ServerProcess[] = [];

beforeAll(async () => {
  buildServer();
  directory = await mkdtemp(join(tmpdir(), 'webhook-kills-'));
  receiver = await startReceiver();
  await writeFile(join(directory, 'ca.pem'), receiver.ca);
  postgres = await startTestPostgres();
}, 120_000);
afterAll(async () => {
  for (const { child, ended } of servers) {
    child.kill('SIGKILL');
    await ended;
  }
  await receiver?.stop();
  await postgres?.stop();
  await rm(directory, { recursive: true, force: true });
});

it('a server that is killed in the middle of delivering loses no change, and doubles none but under its own id', async () => {
  const { config } = await postgres.createDatabase();
  const url = `postgres://postgres@localhost/${String(config.database)}?host=${encodeURIComponent(String(config.host))}`;
  const options = ['--webhooks-allow', '127.0.0.1', '--outbound-ca-file', join(directory, 'ca.pem'), '--tenants', 'acme'];
  const start = async (): Promise<{ readonly server: ServerProcess; readonly put: (path: string, body: object) => Promise<void> }> => {
    const server = startServer(join(directory, 'state'), options, { DATABASE_URL: url });
    servers.push(server);
    const base = await server.ready();
    const token = await server.adminToken();
    return {
      server,
      async put(path, body) {
        const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' };
        const { ok, status } = await fetch(`${base}/providers/${path}`, { method: 'PUT', headers, body: JSON.stringify(body) });
        if (!ok) throw new Error(`PUT ${path}: ${status}`);
      },
    };
  };
  const made: string[] = [];
  const change = async ({ put }: Awaited<ReturnType<typeof start>>): Promise<void> => {
    const name = `w${made.length}`;
    await put(`seca.workspace/v1/tenants/acme/workspaces/${name}`, { spec: {} });
    made.push(name);
  };
  const namesOf = (): string[] => receiver.at('/hook').map(({ event }) => event.data.ref?.split('/').at(-1) ?? '');

  const first = await start();
  const spec = { url: receiver.url('/hook'), kinds: ['workspace'], types: ['put'] };
  await first.put('virt8ra.events/v1beta1/tenants/acme/webhooks/hook', { spec });
  receiver.reply = () => ({ delayMs: 10 });
  for (let index = 0; index < 30; index += 1) await change(first);
  await expect.poll(() => receiver.received.length, { timeout: 20_000, interval: 5 }).toBeGreaterThan(5);
  first.server.child.kill('SIGKILL');
  await first.server.ended;
  const before = receiver.received.length;
  expect(before).toBeLessThan(30);

  const second = await start();
  for (let index = 0; index < 5; index += 1) await change(second);
  await expect.poll(() => [...new Set(namesOf())], { timeout: 30_000, interval: 50 }).toEqual(made);
  const ids = new Map(receiver.at('/hook').map(({ id, event }) => [id, event.data.ref]));
  expect(ids.size).toBe(35);
  expect(receiver.received.length - ids.size).toBeLessThanOrEqual(21);
}, 90_000);
