import type { FeedEvent } from '@virt8ra/client';
import { Problem } from '@virt8ra/contract';
import { countOfFlag } from '../duration-flag.js';
import { kindFromNoun } from '../noun.js';
import { progressText } from '../output/progress-text.js';
import { plain } from '../output/table.js';
import type { Session } from '../session.js';

export interface EventFlags {
  readonly since?: string;
  readonly kinds?: string;
  readonly selector?: string;
  readonly limit?: string;
}

/** Prints the change feed, one line an event; each line begins with the cursor that `--since` takes. */
export async function eventList(session: Session, flags: EventFlags): Promise<void> {
  const { terminal } = session;
  const limit = countOfFlag('--limit', flags.limit) ?? Number.POSITIVE_INFINITY;
  const kinds = (flags.kinds ?? '').split(',').filter((word) => word !== '');
  const feed = await session.patientClient.events({
    tenant: session.tenant ?? '-',
    kinds: kinds.map((word) => kindFromNoun(word).kind),
    ...(flags.selector === undefined ? {} : { labels: flags.selector }),
    ...(flags.since === undefined ? {} : { since: flags.since }),
    signal: terminal.signal,
    onCut: (problem) => terminal.err(`${problem.message}; connecting again\n`),
    onResume: () => terminal.err('connected again\n'),
  });
  let count = 0;
  for await (const event of feed) {
    terminal.out(session.format === 'json' ? `${JSON.stringify(event)}\n` : `${lineOf(event)}\n`);
    count += 1;
    if (count >= limit) return;
  }
  if (terminal.signal.aborted) throw new Problem('cancelled', 'interrupted');
}

function lineOf(event: FeedEvent): string {
  const status = event.resource?.status as { state?: string; conditions?: { reason?: string; message?: string }[] } | undefined;
  const [newest] = status?.conditions ?? [];
  const what = event.progress === undefined ? [status?.state, newest?.message ?? newest?.reason] : [progressText(event.progress)];
  return plain([event.cursor, event.type.padEnd(9), event.ref, ...what.filter((part) => part !== undefined)].join('  '));
}
