import { Problem } from '@virt8ra/contract';
import { awaitGoal, goalFromText } from '../await-resource.js';
import { secondsOfFlag } from '../duration-flag.js';
import { checkDocuments } from '../manifest/check-documents.js';
import { groupDocuments } from '../manifest/order-documents.js';
import { readDocuments } from '../manifest/read-documents.js';
import { type Session, type Target, targetsFromWords, titleOf } from '../session.js';

export interface DeleteFlags {
  readonly file?: readonly string[];
  readonly wait?: boolean;
  readonly timeout?: string;
}

/**
 * Deletes resources by name, or those of documents. Of documents the users go before what they use, and each kind is gone before the
 * next is asked for, since the server refuses to delete what is still in use. What does not exist is passed over.
 */
export async function resourceDelete(session: Session, words: readonly string[], flags: DeleteFlags): Promise<void> {
  const timeoutSeconds = secondsOfFlag('--timeout', flags.timeout);
  const files = flags.file ?? [];
  if (files.length > 0 && words.length > 0) throw new Problem('invalid-request', 'give names or -f, not both');
  if (files.length === 0) {
    const targets = targetsFromWords(session, words);
    for (const target of targets) {
      if (!(await deleteOne(session, target))) throw new Problem('not-found', `${titleOf(target)} does not exist`);
    }
    if (flags.wait === true) for (const target of targets) await awaitGone(session, target, timeoutSeconds);
    return;
  }
  const documents = checkDocuments(await readDocuments(session.terminal, files), session);
  const groups = groupDocuments(documents).toReversed();
  for (const [index, group] of groups.entries()) {
    const begun: Target[] = [];
    for (const document of group.toReversed()) {
      if (await deleteOne(session, document)) begun.push(document);
      else session.terminal.out(`${titleOf(document)} does not exist\n`);
    }
    if (flags.wait !== true && index === groups.length - 1) break;
    for (const target of begun) await awaitGone(session, target, timeoutSeconds);
  }
}

async function deleteOne(session: Session, target: Target): Promise<boolean> {
  const begun = await session.client.delete(target.kind, target.address);
  if (begun) session.terminal.out(session.format === 'name' ? `${titleOf(target)}\n` : `${titleOf(target)} deleting\n`);
  return begun;
}

async function awaitGone(session: Session, target: Target, timeoutSeconds: number | undefined): Promise<void> {
  await awaitGoal(session, target, goalFromText('deleted'), { timeoutSeconds });
  if (session.format !== 'name') session.terminal.out(`${titleOf(target)} deleted\n`);
}
