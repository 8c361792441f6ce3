import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { appendFileSync, readFileSync, writeFileSync } from 'node:fs';
import { chmod, copyFile, mkdir, mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { hasPostgres } from '@virt8ra/engine/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { processesIn, signalProcess } from '../database/processes.js';
import { buildServer, runServer, type ServerProcess, startServer } from '../testing/server-process.js';
import { openBackupFile, readManifest } from './backup-file.js';
import { listBackups, readLastAttempt } from './backup-set.js';

const ready = await hasPostgres('debian');
if (!ready) process.stdout.write('skipped: pg_dump of Debian’s PostgreSQL is not installed\n');

const content = Buffer.from('the content of an image, as far as a backup cares');
const sha256 = createHash('sha256').update(content).digest('hex');

describe.skipIf(!ready)('control plane backups of a running server', { timeout: 120_000 }, () => {
  let outside: string;
  let state: string;
  let server: ServerProcess;

  beforeAll(async () => {
    buildServer();
    outside = await mkdtemp('/tmp/virt8ra-plane-backup-');
    await chmod(outside, 0o755);
    state = join(outside, 'state');
    server = startServer(state);
    const url = await server.ready();
    const call = async (path: string, spec: unknown): Promise<void> => {
      const { status } = await fetch(`${url}${path}`, {
        method: 'PUT',
        headers: { authorization: `Bearer ${await server.adminToken()}`, 'content-type': 'application/json' },
        body: JSON.stringify({ spec }),
      });
      expect(status).toBe(201);
    };
    await call('/providers/seca.workspace/v1/tenants/default/workspaces/shop', {});
    const image = { cpuArchitecture: 'amd64', source: { upload: { sha256, sizeBytes: content.length } } };
    await call('/providers/virt8ra.image/v1beta1/tenants/default/image-imports/debian', image);
    await writeFile(join(state, 'artifacts', 'images', sha256), content);
    await writeFile(join(state, 'artifacts', 'images', `${sha256}.json`), JSON.stringify({ sha256, fileBytes: content.length }));
  }, 300_000);
  afterAll(async () => {
    server?.child.kill('SIGKILL');
    for (const pid of await processesIn(join(state, 'pg', 'data'))) signalProcess(pid, 'SIGKILL');
    await rm(outside, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
  });

  const command = async (...words: string[]): Promise<{ readonly code: number | null; readonly text: string }> => {
    const run = runServer([...words, '--state', state]);
    const { code } = await run.ended;
    return { code, text: `${run.out()}${run.log()}` };
  };
  const newest = async (directory: string): Promise<string> => join(directory, (await listBackups(directory))[0]?.name ?? '');
  const whole = async (path: string, passphrase?: string): Promise<void> =>
    await (await openBackupFile(path, passphrase)).each(async () => undefined);

  it('are whole, closed to others, restorable, and share their content', async () => {
    const to = join(outside, 'backups');
    const made = await command('backup', '--to', to);
    expect(made).toMatchObject({ code: 0 });
    const first = await newest(to);
    expect((await stat(first)).mode & 0o777).toBe(0o600);
    const manifest = await readManifest(first);
    expect(manifest.parts.map(({ name }) => name)).toEqual([
      'state/admin-token',
      'state/identity/accounts.key',
      'state/identity/audit.jwk',
      'state/identity/issuer.jwk',
      'state/identity/webhooks.key',
      'state/pki/ca.key',
      'state/pki/ca.pem',
      'database',
    ]);
    expect(manifest.artifacts).toMatchObject([{ sha256, bytes: content.length }]);
    expect((await stat(join(to, 'content', sha256))).ino).toBe((await stat(join(state, 'artifacts', 'images', sha256))).ino);
    expect(await readLastAttempt(to)).toMatchObject({ ok: true, file: first });

    const verified = await command('backup', 'verify', first, '-o', 'json');
    expect(verified, verified.text).toMatchObject({ code: 0 });
    expect(JSON.parse(verified.text)).toMatchObject({ faults: [], artifacts: { checked: 1, bytes: content.length } });

    // A second one, and only one may stay: the content stays with it.
    expect(await command('backup', '--to', to, '--control-plane-backup-keep', '1')).toMatchObject({ code: 0 });
    expect((await listBackups(to)).length).toBe(1);
    expect(await newest(to)).not.toBe(first);
    expect(await readdir(join(to, 'content'))).toEqual([sha256]);

    // What was changed afterwards is found: a row of the manifest’s, an octet of a part, the content.
    const path = await newest(to);
    const harmed = join(to, 'harmed.v8backup');
    await copyFile(path, harmed);
    const octets = readFileSync(harmed);
    octets.writeUInt8(octets.readUInt8(4000) ^ 1, 4000);
    writeFileSync(harmed, octets);
    await expect(whole(harmed)).rejects.toThrow(/is not what was written/);
    writeFileSync(harmed, readFileSync(path).subarray(0, -1));
    await expect(whole(harmed)).rejects.toThrow(/is not whole/);
    await rm(join(to, 'content', sha256));
    writeFileSync(join(to, 'content', sha256), 'other octets');
    expect(await command('backup', 'verify', path)).toMatchObject({
      code: 1,
      text: expect.stringContaining(`content ${sha256} is damaged`),
    });
  });

  it('may be sealed by a passphrase, and say nothing then', async () => {
    const to = join(outside, 'sealed');
    const secret = join(outside, 'passphrase');
    await writeFile(secret, 'correct horse battery\n', { mode: 0o600 });
    expect(await command('backup', '--to', to, '--passphrase-file', secret)).toMatchObject({ code: 0 });
    const path = await newest(to);
    const token = await server.adminToken();
    expect(readFileSync(path).includes(token)).toBe(false);
    expect(await readdir(join(to, 'content'))).toEqual([`${sha256}.sealed`]);
    expect(readFileSync(join(to, 'content', `${sha256}.sealed`)).includes(content.subarray(0, 16))).toBe(false);
    await whole(path, 'correct horse battery');
    await expect(openBackupFile(path, undefined)).rejects.toThrow(/is encrypted/);
    await expect(openBackupFile(path, 'another passphrase')).rejects.toThrow(/another passphrase/);
  });

  it('leave nothing under their name when they are killed at any moment, or find no room', async () => {
    const to = join(outside, 'killed');
    await mkdir(to);
    for (const afterMs of [120, 250, 380, 500, 650]) {
      const run = runServer(['backup', '--to', to, '--state', state]);
      await sleep(afterMs);
      run.child.kill('SIGKILL');
      await run.ended;
    }
    for (const { name } of await listBackups(to)) await whole(join(to, name));
    // The lock of the killed ones is free, and what they left goes.
    expect(await command('backup', '--to', to)).toMatchObject({ code: 0 });
    expect((await readdir(to)).filter((name) => name.endsWith('.partial'))).toEqual([]);
    expect((await readdir(join(to, 'content'))).filter((name) => name.endsWith('.partial'))).toEqual([]);

    if (process.getuid?.() !== 0) return;
    const full = join(outside, 'full');
    await mkdir(full);
    expect(spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', full]).status).toBe(0);
    try {
      expect(await command('backup', '--to', full)).toMatchObject({ code: 6, text: expect.stringContaining('no room left') });
      expect((await readdir(full)).filter((name) => /partial|v8backup/.test(name))).toEqual([]);
      expect(await readLastAttempt(full)).toMatchObject({ ok: false });
      // Room again: the next one is as if nothing had been.
      spawnSync('mount', ['-o', 'remount,size=64m', full]);
      expect(await command('backup', '--to', full)).toMatchObject({ code: 0 });
      await whole(await newest(full));
      appendFileSync(await newest(full), 'x');
      await expect(whole(await newest(full))).rejects.toThrow(/is not whole/);
    } finally {
      spawnSync('umount', ['--lazy', full]);
    }
  });
});
