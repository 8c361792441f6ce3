import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { readText, writeFileAtomic } from '../files/atomic-file.js';
import { readManifest } from './backup-file.js';
import { prunePool } from './content-pool.js';

/** What became of the newest attempt, kept beside the backups for whoever asks: doctor, metrics, a person. */
export interface LastAttempt {
  readonly at: string;
  readonly ok: boolean;
  readonly seconds: number;
  /** When it succeeded. */
  readonly file?: string;
  readonly bytes?: number;
  /** When it failed. */
  readonly problem?: string;
  /** The newest that succeeded before, where this one failed. */
  readonly lastGood?: { readonly file: string; readonly at: string };
}

const namePattern = /^control-plane-(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z(-\d+)?\.v8backup$/;
const lastName = 'last.json';
const dayMs = 86_400_000;

/** Sorts as it was made. */
export function backupName(at: Date, attempt: number): string {
  const stamp = at.toISOString().replaceAll(/[-:]|\.\d+/g, '');
  return `control-plane-${stamp}${attempt === 0 ? '' : `-${attempt}`}.v8backup`;
}

/** Whole ones, newest first. */
export async function listBackups(directory: string): Promise<readonly { readonly name: string; readonly at: Date }[]> {
  const names = await readdir(directory).catch(() => []);
  return names
    .flatMap((name) => {
      const [, year, month, day, hour, minute, second] = namePattern.exec(name) ?? [];
      return year === undefined ? [] : [{ name, at: new Date(`${year}-${month}-${day}T${hour}:${minute}:${second}Z`) }];
    })
    .sort((left, right) => right.at.getTime() - left.at.getTime() || right.name.localeCompare(left.name, 'en', { numeric: true }));
}

/** Removes backups that are neither among the newest `keep` nor younger than `keepDays`, then content that none names any more. Answers how many went. */
export async function pruneBackups(
  directory: string,
  kept: { readonly keep: number; readonly keepDays: number },
  now: Date,
): Promise<number> {
  const found = await listBackups(directory);
  const old = found.slice(kept.keep).filter(({ at }) => now.getTime() - at.getTime() >= kept.keepDays * dayMs);
  for (const { name } of old) await rm(join(directory, name), { force: true });
  for (const name of await readdir(directory)) if (name.endsWith('.partial')) await rm(join(directory, name), { force: true });
  const needed = new Set<string>();
  for (const { name } of found) {
    if (old.some((gone) => gone.name === name)) continue;
    const manifest = await readManifest(join(directory, name)).catch(() => undefined);
    // What a backup that cannot be read names is not known: nothing of the content goes then.
    if (manifest === undefined) return old.length;
    for (const { sha256 } of manifest.artifacts) needed.add(sha256);
  }
  await prunePool(directory, needed);
  return old.length;
}

export async function readLastAttempt(directory: string): Promise<LastAttempt | undefined> {
  const text = await readText(join(directory, lastName)).catch(() => undefined);
  try {
    return text === undefined ? undefined : (JSON.parse(text) as LastAttempt);
  } catch {
    return undefined;
  }
}

export async function writeLastAttempt(directory: string, attempt: LastAttempt): Promise<void> {
  await writeFileAtomic(join(directory, lastName), `${JSON.stringify(attempt)}\n`);
}
