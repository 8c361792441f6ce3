import { execFileSync, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmdirSync } from 'node:fs';
import { chown, mkdir, readdir, readFile, rm, stat, statfs, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { startTestPostgres } from '@virt8ra/engine/testing';
import { afterEach, beforeAll, describe, expect, it, type TestContext } from 'vitest';
import { awaitGivenDatabase } from './given-database.js';
import { processesIn, processIdentity, signalProcess } from './processes.js';
import { buildHolder, type Holder, type StateDirectory, temporaryState, unprivileged } from './testing/database-holder.js';

const root = process.getuid?.() === 0;
const noDebian = '/nonexistent';

/** Not in every container where we are root. */
function mayMount(): boolean {
  if (!root) return false;
  const place = mkdtempSync('/tmp/virt8ra-mount-');
  try {
    execFileSync('mount', ['-t', 'tmpfs', 'tmpfs', place], { stdio: 'ignore' });
    execFileSync('umount', [place]);
    return true;
  } catch {
    return false;
  } finally {
    rmdirSync(place);
  }
}

/** A clone in root's own home is closed to others: nobody else can run it. */
function skipWhereClosed(context: TestContext): void {
  const { status } = spawnSync('/usr/bin/test', ['-r', import.meta.filename], { cwd: '/', ...unprivileged });
  if (status !== 0) context.skip('the clone is in a folder that is closed to ordinary users');
}

beforeAll(buildHolder, 300_000);

describe('own database', { timeout: 120_000 }, () => {
  const states: StateDirectory[] = [];
  const state = async (options?: Parameters<typeof temporaryState>[0]): Promise<StateDirectory> => {
    const made = await temporaryState(options);
    states.push(made);
    return made;
  };

  afterEach(async () => {
    for (const made of states.splice(0)) await made.remove();
  });

  async function writeRow(holder: Holder): Promise<void> {
    await holder.query('create table if not exists kept (n int)');
    await holder.query('insert into kept values (1)');
  }
  const rows = async (holder: Holder): Promise<number> =>
    (await holder.query<{ count: number }>('select count(*)::int as count from kept'))[0]?.count ?? -1;

  it('is made, keeps its rows over a stop, and leaves no process behind', async () => {
    const { path, hold } = await state();
    const first = await hold();
    await writeRow(first);
    const settings = await first.query<{ name: string; setting: string }>(
      `select name, setting from pg_settings where name in ('fsync', 'listen_addresses', 'password_encryption', 'data_checksums') order by name`,
    );
    expect(settings.map(({ setting }) => setting)).toEqual(['on', 'on', '', 'scram-sha-256']);
    expect((await stat(join(path, 'pg', 'password'))).mode & 0o777).toBe(0o600);
    expect((await stat(first.connection.host ?? '')).mode & 0o777).toBe(0o700);
    if (root) expect((await stat(join(path, 'pg', 'data'))).uid).not.toBe(0);
    const pid = await first.postmasterPid();

    expect(await first.stop()).toBe(0);

    expect(await processIdentity(pid)).toBeUndefined();
    const second = await hold();
    expect(second.origin).toBe('started');
    expect(await rows(second)).toBe(1);
    await second.stop();
  });

  it.skipIf(!root)('runs as an ordinary user in place', async (context) => {
    skipWhereClosed(context);
    const { path, hold } = await state({ owner: unprivileged });
    const holder = await hold({ unprivileged: true });
    await writeRow(holder);

    expect((await stat(join(path, 'pg', 'data'))).uid).toBe(unprivileged.uid);
    expect((await stat(path)).mode & 0o777).toBe(0o700);
    expect(await holder.stop()).toBe(0);
  });

  it.skipIf(!root)('falls back to nobody, with a warning, where no account can be made', async () => {
    const { path, hold } = await state();
    const holder = await hold({ flags: ['--database-user', 'no such: name'] });

    expect(holder.log()).toContain('nobody is used');
    expect((await stat(join(path, 'pg', 'data'))).uid).toBe(unprivileged.uid);
    await holder.stop();
  });

  it('falls back to the binaries of the npm package, and keeps to them once the data are theirs', async () => {
    const { path, hold } = await state();
    const first = await hold({ environment: { DEBIAN_ROOT: noDebian } });
    const [version] = await first.query<{ server_version: string }>('show server_version');
    expect(await readFile(join(path, 'pg', 'data', 'PG_VERSION'), 'utf8')).toBe(`${Number.parseInt(version?.server_version ?? '', 10)}\n`);
    await first.stop();
    if (root) {
      const [brought = ''] = (await readdir(join(path, 'pg'))).filter((name) => /^\d+\./.test(name));
      expect((await stat(join(path, 'pg', brought, 'bin', 'postgres'))).mode & 0o005).toBe(0o005);
    }

    const second = await hold();
    expect(second.log()).toContain('"source":"embedded"');
    await second.stop();
  });

  it.skipIf(!root)('runs the npm package’s binaries as an ordinary user too', async (context) => {
    skipWhereClosed(context);
    const { hold } = await state({ owner: unprivileged });
    const holder = await hold({ unprivileged: true, environment: { DEBIAN_ROOT: noDebian } });
    expect(holder.log()).toContain('"source":"embedded"');
    await holder.stop();
  });

  it('outlives the kill of its server and is attached to again', async () => {
    const { hold } = await state();
    const first = await hold();
    await writeRow(first);
    const pid = await first.postmasterPid();
    first.child.kill('SIGKILL');
    await once(first.child, 'exit');

    const second = await hold();

    expect(second.origin).toBe('attached');
    expect(await second.postmasterPid()).toBe(pid);
    expect(await rows(second)).toBe(1);
    await second.stop();
    expect(await processIdentity(pid)).toBeUndefined();
  });

  it('is started again when it is killed, with every committed row', async () => {
    const { hold } = await state();
    const holder = await hold();
    await writeRow(holder);
    const pid = await holder.postmasterPid();
    const killedAt = performance.now();
    signalProcess(pid, 'SIGKILL');
    await holder.logged('the database died');

    const answered = async (): Promise<number> => {
      try {
        return await rows(holder);
      } catch {
        return await answered();
      }
    };
    expect(await answered()).toBe(1);
    expect(performance.now() - killedAt).toBeLessThan(30_000);
    expect(await holder.postmasterPid()).not.toBe(pid);
    expect(await holder.stop()).toBe(0);
  });

  it('starts over a pid file whose number a stranger has by now', async () => {
    const { path, hold } = await state();
    const first = await hold();
    await writeRow(first);
    const pidFile = join(path, 'pg', 'data', 'postmaster.pid');
    const left = await readFile(pidFile, 'utf8');
    await first.stop();
    // A living process of the same account: PostgreSQL alone would take it for its postmaster.
    await writeFile(pidFile, left.replace(/^\d+/, `${process.pid}`));
    if (root) await chown(pidFile, (await stat(join(path, 'pg', 'data'))).uid, -1);

    const second = await hold();

    expect(second.origin).toBe('started');
    expect(await rows(second)).toBe(1);
    await second.stop();
  });

  it('is shared by two servers and ends with the last of them', async () => {
    const { hold } = await state();
    const [one, two] = await Promise.all([hold(), hold()]);
    expect([one.origin, two.origin].sort()).toEqual(['attached', 'started']);
    const pid = await one.postmasterPid();
    await writeRow(two);

    await one.stop();
    expect(await processIdentity(pid)).toBeDefined();
    expect(await rows(two)).toBe(1);

    await two.stop();
    expect(await processIdentity(pid)).toBeUndefined();
  });

  it('is restarted once when two servers see it die', async () => {
    const { path, hold } = await state();
    const [one, two] = await Promise.all([hold(), hold()]);
    await writeRow(one);
    signalProcess(await one.postmasterPid(), 'SIGKILL');
    await Promise.all([one.logged('the database died'), two.logged('the database died')]);
    const started = (holder: Holder): number => holder.log().split('"the database is ready"').length - 1;
    await Promise.all([one, two].map(async (holder) => await holder.logged(started(holder) > 0 ? 'the database' : 'found running')));

    await one.stop();
    await two.stop();
    expect(await processesIn(join(path, 'pg', 'data'))).toEqual([]);
    // First start and one restart, whoever did them.
    expect(started(one) + started(two)).toBe(2);
  });

  it('puts its socket elsewhere when the path of the state directory is too long', async (context) => {
    if (!root) context.skip('only root may write to /run');
    const { hold } = await state({ within: 'd'.repeat(90) });
    const holder = await hold();
    expect(holder.connection.host).toMatch(/^\/run\/virt8ra-[0-9a-f]{12}$/);
    await writeRow(holder);
    await holder.stop();
    await rm(holder.connection.host ?? '', { recursive: true });
  });

  it.skipIf(!root)('says what is wrong when there is no short place for the socket', async (context) => {
    skipWhereClosed(context);
    const { hold } = await state({ within: 'd'.repeat(90), owner: unprivileged });
    await expect(hold({ unprivileged: true })).rejects.toThrow(/path of the state directory is too long.*XDG_RUNTIME_DIR/);
  });

  it('names the version to install when nothing can open the data', async () => {
    const { path, hold } = await state();
    await (await hold()).stop();
    await writeFile(join(path, 'pg', 'data', 'PG_VERSION'), '9\n');

    await expect(hold()).rejects.toThrow(/made by PostgreSQL 9,.*apt-get install postgresql-9/);
  });

  it.skipIf(!root)('names the owner when the data belong to someone else', async () => {
    const { path, hold } = await state();
    await (await hold()).stop();
    execFileSync('chown', ['-R', 'daemon', join(path, 'pg', 'data')]);

    await expect(hold()).rejects.toThrow(/belongs to daemon, but PostgreSQL would run as virt8ra.*chown -R/);
  });

  it('says that the database is damaged when it is', async () => {
    const { path, hold } = await state();
    await (await hold()).stop();
    const control = join(path, 'pg', 'data', 'global', 'pg_control');
    const sound = await readFile(control);
    const flipped = Buffer.from(sound);
    flipped.writeUInt8(flipped.readUInt8(40) ^ 0xff, 40);
    for (const damage of [flipped, Buffer.alloc(sound.length)]) {
      await writeFile(control, damage);
      await expect(hold()).rejects.toThrow(/is damaged/);
    }
    expect(await processesIn(join(path, 'pg', 'data'))).toEqual([]);
  });

  it('takes a data directory without its version for damaged, not for absent', async () => {
    const { path, hold } = await state();
    await (await hold()).stop();
    await rm(join(path, 'pg', 'data', 'PG_VERSION'));

    await expect(hold()).rejects.toThrow(/PG_VERSION is missing/);
    expect(existsSync(join(path, 'pg', 'data', 'base'))).toBe(true);
  });

  it.skipIf(!mayMount())('is not begun on a disk that cannot hold it', async () => {
    const { path, hold, remove } = await state();
    await mkdir(path);
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64m', 'tmpfs', path]);
    try {
      // PostgreSQL itself may have been copied there first.
      await expect(hold()).rejects.toMatchObject({
        kind: 'exhausted',
        message: expect.stringMatching(/needs 256 MB, .* has \d{1,2} MB left/),
      });
      expect(existsSync(join(path, 'pg', 'data'))).toBe(false);
    } finally {
      execFileSync('umount', [path]);
      await remove();
    }
  });

  it.skipIf(!mayMount())('leaves no half of PostgreSQL where there is no room for it', async () => {
    const { path, hold, remove } = await state();
    await mkdir(path);
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=24m', 'tmpfs', path]);
    try {
      const failure = { kind: 'exhausted', message: expect.stringContaining('cannot be copied to') };
      await expect(hold({ environment: { DEBIAN_ROOT: noDebian } })).rejects.toMatchObject(failure);
      expect((await readdir(join(path, 'pg'))).filter((name) => /^\d+\./.test(name))).toEqual([]);
    } finally {
      execFileSync('umount', [path]);
      await remove();
    }
  });

  it.skipIf(!mayMount())('says that the disk is full when that is why it does not start', async () => {
    const { path, hold } = await state();
    await mkdir(path);
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=400m', 'tmpfs', path]);
    try {
      await (await hold()).stop();
      const { bavail, bsize } = await statfs(path);
      // Less than PostgreSQL needs for its lock file and shared memory on disk.
      await writeFile(join(path, 'filler'), Buffer.alloc(bavail * bsize));
      await expect(hold()).rejects.toMatchObject({ kind: 'exhausted', message: expect.stringContaining('Free space') });
      await rm(join(path, 'filler'));
      await (await hold()).stop();
    } finally {
      execFileSync('umount', ['--lazy', path]);
    }
  });

  it('clears away what a start that was cut left half made', async () => {
    const { path, hold } = await state();
    await mkdir(join(path, 'pg', 'data.new-dead', 'base'), { recursive: true });

    await (await hold()).stop();

    expect(existsSync(join(path, 'pg', 'data.new-dead'))).toBe(false);
  });
});

describe('database by URL', { timeout: 60_000 }, () => {
  it('says that it refuses us, or that it is not there', async () => {
    const postgres = await startTestPostgres();
    const { config } = await postgres.createDatabase();
    const log = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined };
    const at = (database: string): string => `postgres://postgres@localhost/${database}?host=${encodeURIComponent(config.host ?? '')}`;
    try {
      await expect(awaitGivenDatabase(at(config.database ?? ''), log)).resolves.toBeUndefined();
      await expect(awaitGivenDatabase(at('missing'), log)).rejects.toMatchObject({
        kind: 'validation',
        message: expect.stringContaining('refuses us'),
      });
    } finally {
      await postgres.stop();
    }
    await expect(awaitGivenDatabase(at('missing'), log, 10)).rejects.toMatchObject({ kind: 'unavailable' });
  });

  it('is used and left running', async () => {
    const postgres = await startTestPostgres();
    const { config } = await postgres.createDatabase();
    const url = `postgres://postgres@localhost/${config.database}?host=${encodeURIComponent(config.host ?? '')}`;
    const made = await temporaryState();
    try {
      const holder = await made.hold({ environment: { DATABASE_URL: url } });
      expect(holder.origin).toBe('url');
      await holder.query('create table here (n int)');
      await holder.stop();

      const again = await made.hold({ environment: { DATABASE_URL: url } });
      expect(await again.query('select * from here')).toEqual([]);
      await again.stop();
      expect(existsSync(join(made.path, 'pg'))).toBe(false);
    } finally {
      await made.remove();
      await postgres.stop();
    }
  });
});
