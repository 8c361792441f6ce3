import {
  backup,
  type Condition,
  migration,
  type Observed,
  type Placement,
  type Progress,
  type Resource,
  type StatusOf,
} from '@virt8ra/contract';
import { paintFor, toneOf } from '../output/colour.js';
import { forecastText } from '../output/forecast-text.js';
import { printResources } from '../output/print-resources.js';
import { progressText } from '../output/progress-text.js';
import { plain, tableText } from '../output/table.js';
import { ageText } from '../output/units.js';
import { yamlText } from '../output/yaml.js';
import { type Session, type Target, targetsFromWords } from '../session.js';

/** Tells everything about a resource: what is wanted, what was seen by whom and when, where it is and why, and its history. */
export async function resourceDescribe(session: Session, words: readonly string[]): Promise<void> {
  const targets = targetsFromWords(session, words);
  for (const [index, target] of targets.entries()) {
    const resource = await session.client.get(target.kind, target.address);
    if (session.format === 'json' || session.format === 'yaml' || session.format === 'name') {
      await printResources(session, target.kind, [resource], { single: true });
      continue;
    }
    const progress =
      target.kind === migration || target.kind === backup ? await session.client.progress(target.kind, target.address) : undefined;
    if (index > 0) session.terminal.out('\n');
    session.terminal.out(await describeText(session, target, resource, progress));
  }
}

async function describeText(session: Session, target: Target, resource: Resource, progress: Progress | undefined): Promise<string> {
  const { metadata } = resource;
  const now = session.terminal.now();
  const paint = paintFor(session.terminal, 'stdout');
  const status = (resource.status ?? {}) as Readonly<Record<string, unknown>>;
  const { state, conditions, placement, ...all } = status;
  const { move, others } = target.kind === migration ? splitMove(all) : { move: '', others: all };
  const facts = Object.entries(others).filter((entry): entry is [string, Observed<unknown>] => isObserved(entry[1]));
  const short = facts.filter(([, { value }]) => typeof value !== 'object' || value === null);
  const rest = Object.fromEntries(Object.entries(others).filter(([, value]) => !isObserved(value)));
  const line = (title: string, value: string | number | undefined) =>
    value === undefined || value === '' ? '' : `${`${title}:`.padEnd(12)} ${plain(String(value))}\n`;
  const pairs = (values: Readonly<Record<string, string>> | undefined) =>
    Object.entries(values ?? {})
      .map(([key, value]) => `${key}=${value}`)
      .join(', ');

  let text = line('Name', metadata.name);
  text += line('Kind', target.kind.kind);
  text += line('Tenant', metadata.tenant) + line('Workspace', metadata.workspace) + line('Network', metadata.network);
  text += line('Reference', metadata.ref);
  text += line('Version', metadata.resourceVersion);
  text += line('Created', agoText(metadata.createdAt, now)) + line('Changed', agoText(metadata.lastModifiedAt, now));
  text += line('Deleted', agoText(metadata.deletedAt, now));
  text +=
    line('Labels', pairs(resource.labels)) +
    line('Annotations', pairs(resource.annotations)) +
    line('Extensions', pairs(resource.extensions));
  if (typeof state === 'string') text += `${'State:'.padEnd(12)} ${paint(toneOf(state), plain(state))}\n`;
  if (placement !== undefined) text += line('Placed', placementText(placement as Placement));
  if (progress !== undefined) text += line('Progress', `${progressText(progress)} (${ageText(progress.updatedAt, now)} ago)`);
  if (Object.keys(resource.spec as object).length > 0) text += `Spec:\n${await indented(resource.spec)}`;
  if (short.length > 0) {
    const rows = short.map(([key, fact]) => ['', key, String(fact.value), ageText(fact.observedAt, now), fact.source]);
    text += `Facts:\n${tableText(['', 'FACT', 'VALUE', 'SEEN', 'BY'], rows, session.terminal.columns, (cell) => paint(toneOf(cell), cell))}`;
  }
  for (const [key, { value, source, observedAt }] of facts.filter((fact) => !short.includes(fact)))
    text += `${plain(`${key}, seen ${ageText(observedAt, now)} ago by ${source}`)}:\n${await indented(value)}`;
  text += move;
  if (Object.keys(rest).length > 0) text += `Status:\n${await indented(rest)}`;
  if (Array.isArray(conditions) && conditions.length > 0) {
    const rows = (conditions as Condition[]).map((each) => [
      '',
      ageText(each.lastTransitionAt, now),
      each.state,
      each.type ?? '-',
      [each.reason, each.message].filter((part) => part !== undefined && part !== '').join(': ') || '-',
    ]);
    text += `History (newest first):\n${tableText(['', 'AGE', 'STATE', 'TYPE', 'REASON'], rows, session.terminal.columns, (cell) => paint(toneOf(cell), cell))}`;
  }
  return text;
}

/** What a move was expected to take beside what it took, and what was found before; the rest of its status as it is. */
function splitMove({ forecast, findings, actual, ...others }: Readonly<Record<string, unknown>>): {
  readonly move: string;
  readonly others: Readonly<Record<string, unknown>>;
} {
  const told = { forecast, findings, actual } as Pick<StatusOf<typeof migration>, 'forecast' | 'findings' | 'actual'>;
  return { move: forecastText(told), others };
}

function isObserved(value: unknown): value is Observed<unknown> {
  return typeof value === 'object' && value !== null && 'value' in value && 'source' in value && 'observedAt' in value;
}

function agoText(timestamp: string | undefined, now: number): string | undefined {
  return timestamp === undefined ? undefined : `${ageText(timestamp, now)} ago (${timestamp})`;
}

function placementText(placement: Placement): string {
  const host = placement.host === undefined ? '' : `, host ${placement.host}`;
  return `site ${placement.site}${host} by ${placement.cause}: ${placement.reason} (revision ${placement.revision})`;
}

async function indented(value: unknown): Promise<string> {
  const text = await yamlText(value);
  return text.replace(/^(?=.)/gm, '  ');
}
