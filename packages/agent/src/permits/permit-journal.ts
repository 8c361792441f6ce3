import { type FileHandle, open, truncate } from 'node:fs/promises';
import { dirname } from 'node:path';
import { Problem, type Surrender } from '@virt8ra/contract';
import { readText, syncDirectory } from '../disk/atomic-file.js';

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
    };

export interface PermitJournal {
  readonly entries: readonly PermitEntry[];
  /** Returns when the entry is durable; from then on it holds, whatever happens to this host. */
  append(entry: PermitEntry): Promise<void>;
  close(): Promise<void>;
}

/**
 * Opens the journal, one JSON line per entry. A last line without its end was never acknowledged to anyone and is cut off; damage anywhere else is
 * Problem internal, because a forgotten surrender could let two hosts run one instance.
 */
export async function openPermitJournal(path: string): Promise<PermitJournal> {
  const text = (await readText(path)) ?? '';
  const whole = text.slice(0, text.lastIndexOf('\n') + 1);
  if (whole.length < text.length) await truncate(path, Buffer.byteLength(whole));
  const entries: PermitEntry[] = whole
    .split('\n')
    .slice(0, -1)
    .map((line, index) => parseEntry(line, `${path}:${index + 1}`));
  const file: FileHandle = await open(path, 'a', 0o600);
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

function parseEntry(line: string, where: string): PermitEntry {
  try {
    const entry = JSON.parse(line) as Partial<Record<string, unknown>>;
    const { type, instance, epoch, at, statement, evidence } = entry;
    if (typeof instance === 'string' && typeof epoch === 'number' && typeof at === 'string') {
      if (type === 'held') return { type, instance, epoch, at, ...(evidence === undefined ? {} : { evidence: evidence as Surrender }) };
      if (type === 'surrendered' && (statement === 'released' || statement === 'refused')) return { type, statement, instance, epoch, at };
    }
  } catch {
    // Reported below, like any other damage.
  }
  throw new Problem(
    'internal',
    `the permit journal is damaged at ${where}. No guest is started from it; restore the file from a backup, or remove the host and enrol it anew.`,
  );
}
