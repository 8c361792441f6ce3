import { join } from 'node:path';
import { makeDirectory, readJson, writeJsonAtomic } from '../disk/atomic-file.js';

/** The host's own package of the agent. */
export interface InstalledPackage {
  readonly version: string;
  readonly build: string;
}

/** Why an order came to nothing. */
export interface ReleaseTrouble {
  readonly code: string;
  readonly message: string;
}

/** An order that has been carried out. */
export interface FinishedOrder {
  readonly order: string;
  readonly version: string;
  readonly at: string;
  /** Absent: the release runs. */
  readonly problem?: ReleaseTrouble;
}

/** A release that runs until it has proven itself or failed. */
export interface Trial {
  readonly order: string;
  readonly version: string;
  readonly release: string;
  readonly seconds: number;
  /** When it was prepared. */
  readonly at: string;
  /** Boot in which its time began, and when, in milliseconds after it; absent before its first start. */
  readonly began?: { readonly bootId: string; readonly sinceBootMs: number };
  readonly starts: number;
}

/**
 * Which release of the agent runs here: what the launcher reads before each start. Written by the launcher while no agent runs, and by the agent that runs.
 * Releases are called by the names of their folders; `installed` is the host's own package.
 */
export interface ReleaseRecord {
  readonly version: 1;
  /** The installed package when this was written: another one makes the choice void. */
  readonly installed: InstalledPackage;
  readonly current: string;
  readonly since: string;
  readonly previous?: string;
  readonly trial?: Trial;
  /** Newest first. */
  readonly finished: readonly FinishedOrder[];
}

export const installedRelease = 'installed';
/** A control plane that was restored from a backup may repeat orders so old. */
const finishedKept = 50;

export function releasesFolder(stateDirectory: string): string {
  return join(stateDirectory, 'releases');
}

function recordFile(stateDirectory: string): string {
  return join(releasesFolder(stateDirectory), 'record.json');
}

export function freshRecord(installed: InstalledPackage, now: string, finished: readonly FinishedOrder[] = []): ReleaseRecord {
  return { version: 1, installed, current: installedRelease, since: now, finished };
}

/** Undefined when there is none that can be read: the installed package runs then, and orders are carried out anew. */
export async function readReleaseRecord(stateDirectory: string): Promise<ReleaseRecord | undefined> {
  const content = (await readJson(recordFile(stateDirectory)).catch(() => undefined)) as Partial<ReleaseRecord> | null | undefined;
  if (content?.version !== 1 || typeof content.installed?.build !== 'string' || typeof content.current !== 'string') return undefined;
  return Array.isArray(content.finished) ? (content as ReleaseRecord) : undefined;
}

export async function writeReleaseRecord(stateDirectory: string, record: ReleaseRecord): Promise<void> {
  await makeDirectory(releasesFolder(stateDirectory));
  await writeJsonAtomic(recordFile(stateDirectory), record);
}

export function withFinished(record: ReleaseRecord, order: FinishedOrder): readonly FinishedOrder[] {
  return [order, ...record.finished.filter((each) => each.order !== order.order)].slice(0, finishedKept);
}
