import { copyFile, open, readdir, rename } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { Problem, toProblem } from '@virt8ra/contract/plain';
import type { Log } from '../log.js';
import { makeDirectory, readJson, syncDirectory, writeJsonAtomic } from './atomic-file.js';

/** Something damaged that was moved out of the way, and not thrown away. */
export interface Quarantined {
  /** Folder in which it lies now, with `why.json` beside it. */
  readonly directory: string;
  /** Where it was. */
  readonly from: string;
  readonly at: string;
  readonly reason: string;
}

/** Where damaged state goes, so that the agent can go on without it and a person can look at it. What lies there is never read again. */
export interface Quarantine {
  /** Moves a file or folder there. A repetition after a kill moves what is left. Answers where it lies. */
  move(path: string, reason: string): Promise<string>;
  /** Copies a file there, for one that must be replaced in a single step. */
  copy(path: string, reason: string): Promise<string>;
  /** Everything that lies there, oldest first; a person removes it. */
  list(): Promise<readonly Quarantined[]>;
}

/** `quarantine/TIME-NAME/{NAME,why.json}` in the state directory. */
export function openQuarantine(stateDirectory: string, log: Log, now: () => Date = () => new Date()): Quarantine {
  const root = join(stateDirectory, 'quarantine');
  const folderFor = async (path: string, reason: string) => {
    const at = now().toISOString();
    const stem = `${at.replaceAll(':', '')}-${basename(path)}`;
    const taken = new Set(await readdir(root).catch((): string[] => []));
    let name = stem;
    for (let count = 2; taken.has(name); count += 1) name = `${stem}-${count}`;
    const directory = join(root, name);
    await makeDirectory(directory);
    await writeJsonAtomic(join(directory, 'why.json'), { from: path, at, reason });
    log.error('damaged state was moved out of the way', { from: path, to: directory, reason });
    return directory;
  };
  return {
    move: async (path, reason) => {
      const directory = await folderFor(path, reason);
      await rename(path, join(directory, basename(path)));
      await syncDirectory(directory);
      await syncDirectory(root);
      return directory;
    },
    copy: async (path, reason) => {
      const directory = await folderFor(path, reason);
      const copied = join(directory, basename(path));
      await copyFile(path, copied);
      const handle = await open(copied, 'r');
      await handle.sync().finally(async () => await handle.close());
      await syncDirectory(directory);
      await syncDirectory(root);
      return directory;
    },
    list: async () => {
      const names = await readdir(root).catch((): string[] => []);
      return await Promise.all(names.sort().map(async (name) => await describe(join(root, name))));
    },
  };
}

/** Content of a JSON file; `damaged`: it was none, and lies in the quarantine now. */
export async function readJsonOrQuarantine(
  path: string,
  quarantine: Quarantine,
): Promise<{ readonly type: 'missing' | 'damaged' } | { readonly type: 'content'; readonly content: unknown }> {
  try {
    const content = await readJson(path);
    return content === undefined ? { type: 'missing' } : { type: 'content', content };
  } catch (error) {
    // Whatever else is wrong, such as a disk that cannot be read at the moment, is not the file's fault.
    if (!(error instanceof Problem)) throw error;
    await quarantine.move(path, error.message);
    return { type: 'damaged' };
  }
}

async function describe(directory: string): Promise<Quarantined> {
  const told = (await readJson(join(directory, 'why.json')).catch((error: unknown) => ({ reason: toProblem(error).message }))) as
    | Partial<Record<'from' | 'at' | 'reason', unknown>>
    | undefined;
  const text = (value: unknown, otherwise: string) => (typeof value === 'string' ? value : otherwise);
  return {
    directory,
    from: text(told?.from, basename(directory)),
    at: text(told?.at, new Date(0).toISOString()),
    reason: text(told?.reason, 'not known'),
  };
}
