import { isDeepStrictEqual } from 'node:util';
import type { Draft } from '@virt8ra/client';
import { Problem, type Resource, toProblem } from '@virt8ra/contract';
import { awaitGoal, settledGoal } from '../await-resource.js';
import { secondsOfFlag } from '../duration-flag.js';
import { checkDocuments } from '../manifest/check-documents.js';
import type { ManifestDocument } from '../manifest/manifest-document.js';
import { groupDocuments } from '../manifest/order-documents.js';
import { readDocuments } from '../manifest/read-documents.js';
import { type Session, titleOf } from '../session.js';

export interface ApplyFlags {
  readonly file: readonly string[];
  readonly wait?: boolean;
  readonly timeout?: string;
  readonly dryRun?: boolean;
}

/** `retried`: nothing differs, but it is in state `error`, and the same PUT asks for another try. */
type Outcome = 'created' | 'updated' | 'unchanged' | 'retried' | 'valid';

interface Done {
  readonly outcome: Outcome;
  readonly document: ManifestDocument;
  readonly resource: Resource | undefined;
}

/**
 * Writes documents in the order in which they need each other. All are checked before the first is sent; the first that the server
 * refuses ends it, and what was done before is said. With `wait`, every group of a kind is finished before the next begins.
 */
export async function resourceApply(session: Session, flags: ApplyFlags): Promise<void> {
  const { terminal } = session;
  const timeoutSeconds = secondsOfFlag('--timeout', flags.timeout);
  const documents = checkDocuments(await readDocuments(terminal, flags.file), session);
  const done: Done[] = [];
  let current: ManifestDocument | undefined;
  try {
    for (const group of groupDocuments(documents)) {
      for (const document of group) {
        current = document;
        const result =
          flags.dryRun === true ? { outcome: 'valid' as const, document, resource: undefined } : await applyOne(session, document);
        done.push(result);
        report(session, result);
      }
      if (flags.wait !== true || flags.dryRun === true) continue;
      for (const document of group) {
        current = document;
        await awaitGoal(session, document, settledGoal(document), { timeoutSeconds });
      }
    }
  } catch (error) {
    throw stopped(toProblem(error), current, done, documents.length);
  } finally {
    if (session.format === 'json') terminal.out(`${JSON.stringify({ items: done.map(summary) }, null, 2)}\n`);
  }
}

async function applyOne(session: Session, document: ManifestDocument): Promise<Done> {
  const { kind, address, draft } = document;
  const before = await session.client.find(kind, address);
  const same = before !== undefined && before.metadata.deletedAt === undefined && sameDraft(before, draft);
  const failed = (before?.status as { readonly state?: string } | undefined)?.state === 'error';
  if (same && !failed) return { outcome: 'unchanged', document, resource: before };
  const { resource } = await session.client.put(kind, address, draft);
  return { outcome: before === undefined ? 'created' : same ? 'retried' : 'updated', document, resource };
}

/** Whether a PUT would change nothing: the server keeps the caller's words as they are. */
function sameDraft(before: Resource, draft: Draft): boolean {
  return (
    isDeepStrictEqual(before.spec, draft.spec) &&
    (['labels', 'annotations', 'extensions'] as const).every((part) => isDeepStrictEqual(before[part] ?? {}, draft[part] ?? {}))
  );
}

function report(session: Session, { outcome, document }: Done): void {
  if (session.format === 'json') return;
  const title = titleOf(document);
  session.terminal.out(session.format === 'name' ? `${title}\n` : `${title} ${outcome}${outcome === 'valid' ? ' (dry run)' : ''}\n`);
}

function summary({ outcome, document, resource }: Done) {
  return { outcome, kind: document.kind.kind, name: document.address.name, ...(resource === undefined ? {} : { resource }) };
}

/** The server's problem, with the document it is about, the lines its pointers reach, and what was already done. */
function stopped(problem: Problem, document: ManifestDocument | undefined, done: readonly Done[], total: number): Problem {
  if (document === undefined) return problem;
  const { raw } = document;
  const changed = done.filter(({ outcome }) => outcome === 'created' || outcome === 'updated').length;
  const lines = [
    `${titleOf(document)} (${raw.source}:${raw.lineOf(problem.sources[0]?.pointer ?? '')}): ${problem.message}`,
    ...(total === 1 ? [] : [`${done.length} of ${total} documents were applied before (${changed} changed), the others were not sent`]),
  ];
  return new Problem(problem.kind, lines.join('\n'), { sources: problem.sources, facts: problem.facts, cause: problem });
}
