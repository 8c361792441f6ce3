import { open, truncate } from 'node:fs/promises';
import { dirname } from 'node:path';
import { Problem, type Surrender } from '@virt8ra/contract';
import { readText, syncDirectory, writeFileAtomic } from '../disk/atomic-file.js';
import type { Quarantine } from '../disk/quarantine.js';

/** One thing this host did with a permit, in the order it happened. */
export type PermitEntry =
  /** It is about to run the instance under this epoch. `evidence`: of a permit that awaited it, as it was handed over. */
  | { readonly type: 'held'; readonly instance: string; readonly epoch: number; readonly at: string; readonly evidence?: Surrender }
  /** It will never run it under this epoch, or a smaller one, again. */
  | {
      readonly type: 'surrendered';
      readonly statement: Surrender['statement'];
      readonly instance: string;
      readonly epoch: number;
      readonly at: string;
    }
  /** After the journal was lost, the control plane said again that the instance may run here under this epoch. */
  | { readonly type: 'confirmed'; readonly instance: string; readonly epoch: number; readonly at: string }
  /** The first line of a journal, so that an emptied file is not taken for a new one. */
  | { readonly type: 'opened'; readonly at: string }
  /** What stood before may be incomplete: lines were damaged, or the whole file was gone. */
  | { readonly type: 'lost'; readonly at: string };

export interface PermitJournal {
  readonly entries: readonly PermitEntry[];
  /** Returns when the entry is durable; from then on it holds, whatever happens to this host. */
  append(entry: PermitEntry): Promise<void>;
  close(): Promise<void>;
}

export interface PermitJournalOptions {
  readonly quarantine: Quarantine;
  /** Something else on this host tells that it had a journal before. */
  readonly expected: boolean;
  readonly now: () => Date;
}

/**
 * Opens the journal, one JSON line per entry. A last line without its end was never acknowledged to anyone and is cut off. With damage anywhere
 * else, or where it was and is no more, a copy goes to the quarantine and what can still be read is kept, with the mark `lost` behind it: a
 * forgotten surrender could let two hosts run one instance, so that the book believes no permit from before that mark
 * until something proves it.
 */
export async function openPermitJournal(path: string, options: PermitJournalOptions): Promise<PermitJournal> {
  const text = (await readText(path)) ?? '';
  const whole = text.slice(0, text.lastIndexOf('\n') + 1);
  if (whole.length < text.length) await truncate(path, Buffer.byteLength(whole));
  const read = entriesIn(whole);
  const entries = read.filter((entry) => entry !== undefined);
  const at = options.now().toISOString();
  const damaged = read.indexOf(undefined) + 1;
  const gone = read.length === 0 && options.expected;
  if (damaged > 0) await options.quarantine.copy(path, `the permit journal was damaged in line ${damaged}`);
  if (damaged > 0 || gone) entries.push({ type: 'lost', at });
  if (read.length === 0) entries.unshift({ type: 'opened', at });
  // In one step: after a kill there is the damaged file, or the one with the mark.
  if (damaged > 0 || read.length === 0) await writeFileAtomic(path, entries.map((entry) => `${JSON.stringify(entry)}\n`).join(''));
  const file = await open(path, 'a', 0o600);
  await file.sync();
  await syncDirectory(dirname(path));
  let tail: Promise<void> = Promise.resolve();
  let broken: unknown;
  return {
    entries,
    append: (entry) => {
      const write = tail.then(async () => {
        // After a failed write the end of the file is unknown: nothing may be promised until the journal is opened anew.
        if (broken !== undefined)
          throw new Problem('internal', `${path} could not be written; restart the agent when the disk is well`, { cause: broken });
        try {
          await file.appendFile(`${JSON.stringify(entry)}\n`);
          await file.sync();
        } catch (error) {
          broken = error;
          throw error;
        }
        entries.push(entry);
      });
      tail = write.catch(() => {});
      return write;
    },
    close: async () => {
      await tail;
      await file.close();
    },
  };
}

/** What the journal holds, without touching it. Raises `internal` for damage, which the next agent that opens it mends. */
export async function readPermitJournal(path: string): Promise<readonly PermitEntry[]> {
  const text = (await readText(path)) ?? '';
  return entriesIn(text.slice(0, text.lastIndexOf('\n') + 1)).map((entry, index) => {
    if (entry !== undefined) return entry;
    throw new Problem('internal', `the permit journal is damaged at ${path}:${index + 1}`);
  });
}

/** One for each line; undefined for a line that is none of ours. */
function entriesIn(whole: string): (PermitEntry | undefined)[] {
  return whole.split('\n').slice(0, -1).map(parseEntry);
}

function parseEntry(line: string): PermitEntry | undefined {
  try {
    const entry = JSON.parse(line) as Partial<Record<string, unknown>>;
    const { type, instance, epoch, at, statement, evidence } = entry;
    if (typeof at !== 'string') return undefined;
    if (type === 'opened' || type === 'lost') return { type, at };
    if (typeof instance !== 'string' || typeof epoch !== 'number') return undefined;
    if (type === 'held') return { type, instance, epoch, at, ...(evidence === undefined ? {} : { evidence: evidence as Surrender }) };
    if (type === 'confirmed') return { type, instance, epoch, at };
    if (type === 'surrendered' && (statement === 'released' || statement === 'refused')) return { type, statement, instance, epoch, at };
  } catch {
    // Damage, like a line of another form.
  }
  return undefined;
}
