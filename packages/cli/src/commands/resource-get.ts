import { type Kind, Problem, type Resource } from '@virt8ra/contract';
import { countOfFlag } from '../duration-flag.js';
import { kindFromNoun } from '../noun.js';
import { printResources } from '../output/print-resources.js';
import { collectionsOf, type Session, type Target, targetsFromWords } from '../session.js';

export interface GetFlags {
  readonly selector?: string;
  readonly limit?: string;
  readonly allWorkspaces?: boolean;
}

/** Prints resources: those named, or a whole collection. */
export async function resourceGet(session: Session, words: readonly string[], flags: GetFlags): Promise<void> {
  const [noun] = words;
  if (noun === undefined) throw new Problem('invalid-request', 'name a kind; "virt8ra kinds" lists them');
  if (words.length === 1 && !noun.includes('/')) return listKind(session, kindFromNoun(noun), flags);
  const targets = targetsFromWords(session, words);
  const byKind = new Map<Kind, Target[]>();
  for (const target of targets) byKind.set(target.kind, [...(byKind.get(target.kind) ?? []), target]);
  for (const [kind, group] of byKind) {
    const items = await Promise.all(group.map((target) => session.client.get(kind, target.address)));
    await printResources(session, kind, items, { single: targets.length === 1 });
  }
}

async function listKind(session: Session, kind: Kind, flags: GetFlags): Promise<void> {
  const limit = countOfFlag('--limit', flags.limit) ?? Number.POSITIVE_INFINITY;
  const everywhere = flags.allWorkspaces === true && kind.scope !== 'tenant' && kind.scope !== 'global';
  const options = { pageSize: Math.min(limit, 1000), ...(flags.selector === undefined ? {} : { labels: flags.selector }) };
  const items: Resource[] = [];
  collect: for await (const within of collectionsOf(session, kind, everywhere)) {
    for await (const item of session.client.list(kind, within, options)) {
      items.push(item);
      if (items.length === limit) break collect;
    }
  }
  const tabular = session.format === 'table' || session.format === 'wide';
  if (items.length === 0 && tabular)
    session.terminal.err(`no ${kind.collection}${flags.selector === undefined ? '' : ' with these labels'}\n`);
  else await printResources(session, kind, items, { single: false, acrossWorkspaces: everywhere });
}
