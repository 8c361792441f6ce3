import { existsSync, readFileSync } from 'node:fs';
import { open, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Problem } from '@virt8ra/contract/plain';
import { makeDirectory, syncDirectory } from '../disk/atomic-file.js';
import { diskFull, isDiskFull, requireRoom } from '../disk/room.js';
import { runCommand } from '../system/run-command.js';
import { installedRelease } from './release-record.js';

/** What a release says of itself, in `RELEASE.json` at its top. */
export interface ReleaseManifest {
  readonly product: string;
  readonly version: string;
  readonly architecture: string;
  /** Which sources it was made from. */
  readonly build: string;
}

const unpacking = '.unpacking';

/** Name of a release's folder. */
export function releaseName(version: string, sha256: string): string {
  return `${version}-${sha256.slice(0, 12)}`;
}

/** The program of a release that starts it. */
export function releaseProgram(root: string, release: string): string {
  return join(root, release, 'bin', 'virt8ra-agent');
}

/** Where this program was installed, or unpacked as a release: bin and lib are in it. */
export function ownInstallation(): string {
  return fileURLToPath(new URL('../../../../../..', import.meta.url)).replace(/\/$/, '');
}

/** What stands at the top of a release; undefined when there is nothing that can be read. */
export function readManifest(folder: string): ReleaseManifest | undefined {
  try {
    const found = JSON.parse(readFileSync(join(folder, 'RELEASE.json'), 'utf8')) as Partial<ReleaseManifest> | null;
    const whole = [found?.product, found?.version, found?.architecture, found?.build].every((part) => typeof part === 'string');
    return whole ? (found as ReleaseManifest) : undefined;
  } catch {
    return undefined;
  }
}

/** Only whole releases have a folder of their name. */
export function isWholeRelease(root: string, release: string): boolean {
  if (release === installedRelease) return true;
  return existsSync(releaseProgram(root, release)) && readManifest(join(root, release)) !== undefined;
}

/**
 * Unpacks a release that was fetched and verified; durable and whole when it returns, and only then under its name. Raises Problem exhausted when there is no room,
 * validation when it is no release.
 */
export async function unpackRelease(root: string, tarball: string, release: string): Promise<void> {
  const folder = join(root, `${release}${unpacking}`);
  await rm(folder, { recursive: true, force: true });
  try {
    await requireRoom(root, await unpackedBytes(tarball));
    await makeDirectory(folder, 0o755);
    await runCommand('tar', ['-xzf', tarball, '-C', folder, '--strip-components=1', '--no-same-owner'], { timeoutMs: 300_000 });
    await runCommand('sync', ['-f', folder]);
    await rm(join(root, release), { recursive: true, force: true });
    await rename(folder, join(root, release));
    await syncDirectory(root);
  } catch (error) {
    await rm(folder, { recursive: true, force: true });
    if (error instanceof Problem && error.kind === 'exhausted') throw error;
    if (isDiskFull(error)) throw await diskFull(root, 0, error);
    const why = error instanceof Error ? error.message : String(error);
    throw new Problem('validation', `it cannot be unpacked: ${why}`, { cause: error });
  }
}

/** As the last four bytes of a gzip file say it. */
async function unpackedBytes(tarball: string): Promise<number> {
  const file = await open(tarball, 'r');
  try {
    const { size } = await file.stat();
    const end = Buffer.alloc(4);
    await file.read(end, 0, 4, Math.max(size - 4, 0));
    return end.readUInt32LE(0);
  } finally {
    await file.close();
  }
}

/** Removes what is neither kept nor the record. */
export async function pruneReleases(root: string, kept: ReadonlySet<string>): Promise<void> {
  for (const name of await readdir(root)) {
    if (name === 'record.json' || kept.has(name)) continue;
    await rm(join(root, name), { recursive: true, force: true });
  }
}
