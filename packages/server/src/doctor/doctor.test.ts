import { chmod, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import type { Finding } from '@virt8ra/contract';
import { Client } from 'pg';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { parseConfig } from '../config.js';
import { processesIn, signalProcess } from '../database/processes.js';
import { buildServer, runServer, type ServerProcess } from '../testing/server-process.js';
import { examineServer, runDoctor } from './doctor.js';
import { createTestPair } from './testing/test-pair.js';

let outside: string;
let state: string;
let server: ServerProcess | undefined;
let stranger: Server | undefined;

beforeAll(buildServer, 300_000);
beforeEach(async () => {
  outside = await mkdtemp('/tmp/virt8ra-doctor-');
  await chmod(outside, 0o755);
  state = join(outside, 'state');
});
afterEach(async () => {
  server?.child.kill('SIGKILL');
  server = undefined;
  stranger?.close();
  stranger = undefined;
  for (const pid of await processesIn(join(state, 'pg', 'data'))) signalProcess(pid, 'SIGKILL');
  await rm(outside, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
});

const freePort = async (): Promise<number> => {
  const probe = createServer();
  await new Promise<void>((resolve) => probe.listen(0, '127.0.0.1', resolve));
  const { port } = probe.address() as AddressInfo;
  await new Promise((resolve) => probe.close(resolve));
  return port;
};
const uid = process.getuid?.() ?? 0;
const look = async (...options: string[]): Promise<readonly Finding[]> =>
  await examineServer(parseConfig(['--state', state, ...options], {}, uid));
const of = (findings: readonly Finding[], check: string): Finding | undefined => findings.find((each) => each.check === check);

describe('the doctor of a server', { timeout: 180_000 }, () => {
  it('looks at a machine where no server ever ran, and makes nothing there', async () => {
    const [api, agents] = [await freePort(), await freePort()];
    const findings = await look('--api-listen', `127.0.0.1:${api}`, '--agents-listen', `127.0.0.1:${agents}`);
    expect(of(findings, 'state/directory')).toMatchObject({ level: 'warn', mend: expect.stringContaining('--state') });
    expect(of(findings, 'listeners/api')).toMatchObject({ level: 'warn', message: expect.stringContaining('nobody listens') });
    expect(of(findings, 'database/cluster')).toMatchObject({ level: 'pass' });
    expect(findings.filter(({ level }) => level === 'fail')).toEqual([]);
    for (const { level, mend } of findings) expect(mend === undefined).toBe(level === 'pass');
    expect(await readdir(outside)).toEqual([]);
  });

  it('finds a server that runs well, and then what is wrong with it', async () => {
    const [api, agents] = [await freePort(), await freePort()];
    const options = ['--api-listen', `127.0.0.1:${api}`, '--agents-listen', `127.0.0.1:${agents}`];
    server = runServer(['--state', state, ...options]);
    await server.ready();
    const well = await look(...options);
    expect(well.filter(({ level }) => level === 'fail')).toEqual([]);
    expect(of(well, 'listeners/api')?.message).toContain(`virt8ra-server (process ${server.child.pid}) is ready`);
    expect(of(well, 'machine/open-files')?.message).toContain(`process ${server.child.pid} (virt8ra-server)`);
    for (const check of [
      'listeners/agents',
      'listeners/agents-certificate',
      'identity/authority',
      'identity/secrets',
      'database/reach',
      'database/version',
      'database/clock',
      'database/connections',
      'database/schema',
      'artifacts/store',
    ])
      expect(of(well, check), check).toMatchObject({ level: 'pass' });

    const printed: string[] = [];
    const code = await runDoctor(['--json', '--state', state, ...options], {}, uid, (text) => void printed.push(text));
    expect(code).toBe(0);
    expect((JSON.parse(printed.join('')) as Finding[]).map(({ check }) => check)).toEqual(well.map(({ check }) => check));

    // What others may read, what is not as long as it was, and a schema that a newer server has written.
    await chmod(join(state, 'admin-token'), 0o644);
    await chmod(state, 0o777);
    const digest = 'd'.repeat(64);
    await writeFile(join(state, 'artifacts', 'images', digest), 'short');
    const description = { sha256: digest, format: 'raw', virtualSizeBytes: 512, fileBytes: 512 };
    await writeFile(join(state, 'artifacts', 'images', `${digest}.json`), JSON.stringify(description));
    const password = (await readFile(join(state, 'pg', 'password'), 'utf8')).trim();
    const client = new Client({ host: join(state, 'pg', 'run'), user: 'virt8ra', password, database: 'virt8ra' });
    await client.connect();
    await client.query(`insert into control.migration (area, name, position, checksum) values ('fleet', '9999-future', 9999, '')`);
    await client.end();
    const ill = await look(...options);
    expect(of(ill, 'identity/secrets')).toMatchObject({
      level: 'fail',
      message: expect.stringContaining('admin-token'),
      mend: expect.stringContaining('chmod 600'),
    });
    expect(of(ill, 'state/directory')).toMatchObject({ level: 'fail', mend: `chmod go-w ${state}` });
    expect(of(ill, 'artifacts/store')).toMatchObject({ level: 'fail', message: expect.stringContaining('dddddddddddd') });
    expect(of(ill, 'database/schema')).toMatchObject({ level: 'fail', message: expect.stringContaining('newer server') });
    expect(await runDoctor(['-o', 'text', '--state', state, ...options], {}, uid, () => undefined)).toBe(1);

    // The server is gone, and another program has its port.
    server.child.kill('SIGKILL');
    await server.ended;
    for (const pid of await processesIn(join(state, 'pg', 'data'))) signalProcess(pid, 'SIGKILL');
    await expect.poll(async () => await processesIn(join(state, 'pg', 'data')), { timeout: 20_000 }).toEqual([]);
    stranger = createServer((socket) => socket.end('220 hello\r\n'));
    await new Promise<void>((resolve) => stranger?.listen(api, '127.0.0.1', resolve));
    const gone = await look(...options);
    expect(of(gone, 'listeners/api')).toMatchObject({ level: 'fail', message: expect.stringContaining('is no control plane') });
    expect(of(gone, 'listeners/agents')).toMatchObject({ level: 'warn' });
    expect(of(gone, 'database/reach')).toMatchObject({ level: 'warn', message: expect.stringContaining('does not run') });
  });

  it('tells of certificates that end soon or do not belong together, and of a database that is not there', async () => {
    await mkdir(join(state, 'pki'), { recursive: true, mode: 0o700 });
    const soon = await createTestPair(10);
    const other = await createTestPair(400);
    const files = { certificate: join(outside, 'api.pem'), key: join(outside, 'api.key') };
    await writeFile(files.certificate, soon.certificate);
    await writeFile(files.key, soon.key);
    const tls = [
      '--api-tls-certificate',
      files.certificate,
      '--api-tls-key',
      files.key,
      '--database-url',
      'postgres://u:hidden-word@127.0.0.1:1/none',
    ];
    const early = await look(...tls);
    expect(of(early, 'identity/api-certificate')).toMatchObject({ level: 'warn', message: expect.stringContaining('good for 9 days') });
    expect(of(early, 'database/reach')).toMatchObject({ level: 'fail', message: expect.stringContaining('cannot be used') });
    expect(JSON.stringify(early)).not.toContain('hidden-word');
    await writeFile(files.key, other.key);
    expect(of(await look(...tls), 'identity/api-certificate')).toMatchObject({
      level: 'fail',
      message: expect.stringContaining('do not belong together'),
    });
  });

  it('refuses a format that it does not know', async () => {
    await expect(runDoctor(['-o', 'xml', '--state', state], {}, uid, () => undefined)).rejects.toMatchObject({ kind: 'validation' });
  });
});
