import type { FeedEvent } from '@virt8ra/client';
import { type Address, type Kind, Problem, type Resource, urnFromAddress } from '@virt8ra/contract';
import { kindFromNoun } from '../noun.js';
import { paintFor, toneOf } from '../output/colour.js';
import { columnsOf } from '../output/columns.js';
import { progressText } from '../output/progress-text.js';
import { rowText, tableWidths } from '../output/table.js';
import { yamlText } from '../output/yaml.js';
import { collectionsOf, type Session, targetFromWords } from '../session.js';

export interface WatchFlags {
  readonly selector?: string;
  readonly allWorkspaces?: boolean;
}

/** Prints what is there, then every change, until it is interrupted. With JSON, one object a line. */
export async function resourceWatch(session: Session, words: readonly string[], flags: WatchFlags): Promise<void> {
  const { terminal } = session;
  const [noun] = words;
  if (noun === undefined) throw new Problem('invalid-request', 'name a kind; "virt8ra kinds" lists them');
  const target = words.length > 1 || noun.includes('/') ? targetFromWords(session, words) : undefined;
  const kind = target?.kind ?? kindFromNoun(noun);
  const everywhere = flags.allWorkspaces === true && kind.scope !== 'tenant' && kind.scope !== 'global';
  const feed = await session.patientClient.events({
    tenant: session.tenant ?? '-',
    kinds: [kind.kind],
    ...(flags.selector === undefined ? {} : { labels: flags.selector }),
    signal: terminal.signal,
    onCut: (problem) => terminal.err(`${problem.message}; connecting again\n`),
    onResume: () => terminal.err('connected again\n'),
  });
  const places: Omit<Address, 'name'>[] = [];
  const items: Resource[] = [];
  if (target !== undefined) items.push(await session.client.get(kind, target.address));
  else {
    for await (const within of collectionsOf(session, kind, everywhere)) {
      places.push(within);
      const options = flags.selector === undefined ? {} : { labels: flags.selector };
      for await (const item of session.client.list(kind, within, options)) items.push(item);
    }
  }
  const concerns =
    target === undefined
      ? belongsTo(kind, everywhere ? [] : places)
      : (event: FeedEvent) => event.ref === urnFromAddress(kind, target.address);
  const print = printer(session, kind, items, everywhere);
  for (const item of items) await print({ type: 'found', resource: item });
  const known = new Map(items.map((item) => [item.metadata.ref, item]));
  for await (const event of feed) {
    if (event.kind !== kind.kind || !concerns(event)) continue;
    const resource = event.resource ?? known.get(event.ref);
    if (event.resource !== undefined) known.set(event.ref, event.resource);
    if (event.type === 'deleted') known.delete(event.ref);
    await print({ type: event.type, resource, ref: event.ref, cursor: event.cursor, progress: event.progress });
  }
  if (terminal.signal.aborted) throw new Problem('cancelled', 'interrupted');
}

/** Subnets of every network count when none was named: their number may grow while we watch. */
function belongsTo(kind: Kind, places: readonly Omit<Address, 'name'>[]): (event: FeedEvent) => boolean {
  if (places.length === 0) return () => true;
  const starts = places.map((place) => urnFromAddress(kind, { ...place, name: '' }));
  return (event) => starts.some((start) => event.ref.startsWith(start));
}

const roomFor: Readonly<Record<string, string>> = { EVENT: 'placement', NAME: 'twelve-chars', STATE: 'creating', ACTIVITY: 'starting' };

interface Change extends Partial<Omit<FeedEvent, 'type' | 'resource' | 'progress'>> {
  readonly type: string;
  readonly resource: Resource | undefined;
  readonly progress?: FeedEvent['progress'] | undefined;
}

function printer(session: Session, kind: Kind, items: readonly Resource[], everywhere: boolean): (change: Change) => Promise<void> {
  const { terminal, format } = session;
  if (format === 'json') return async (change) => terminal.out(`${JSON.stringify({ kind: kind.kind, ...change })}\n`);
  if (format === 'yaml') return async (change) => terminal.out(`---\n${await yamlText({ kind: kind.kind, ...change })}`);
  const nameOf = (change: Change) => change.resource?.metadata.name ?? change.ref?.split('/').at(-1) ?? '';
  if (format === 'name') return async (change) => terminal.out(`${kind.kind}/${nameOf(change)} ${change.type}\n`);
  const columns = columnsOf(kind, format === 'wide', everywhere);
  const titles = ['EVENT', ...columns.map((column) => column.title)];
  const cells = (type: string, item: Resource) => [type, ...columns.map((column) => column.cell(item, terminal.now()))];
  const paint = paintFor(terminal, 'stdout');
  const present = items.map((item) => cells('placement', item));
  // Rows to come may be longer than those of today: leave the words of state their room.
  const widths = tableWidths(titles, [...present, titles.map((title) => roomFor[title] ?? '')], terminal.columns);
  // Scripts get whole cells; a terminal gets lines that do not wrap.
  const fitted = (row: readonly string[]) =>
    terminal.columns === undefined ? tableWidths(row, [], undefined).map((each, column) => Math.max(each, widths[column] ?? 0)) : widths;
  terminal.out(rowText(titles, widths));
  return async (change) => {
    if (change.progress !== undefined && change.type === 'progress') {
      terminal.out(rowText(['progress', nameOf(change), progressText(change.progress)], [widths[0] ?? 9, widths[1] ?? 8, 200]));
    } else if (change.resource === undefined) terminal.out(rowText([change.type, nameOf(change)], widths));
    else {
      const row = cells(change.type, change.resource);
      terminal.out(rowText(row, fitted(row), (cell) => paint(toneOf(cell), cell)));
    }
  };
}
