import type { RestoreDifferences, RestoreReleased } from '@virt8ra/contract';
import { tableText } from '../output/table.js';
import { yamlText } from '../output/yaml.js';
import type { Session } from '../session.js';

export interface ReleaseFlags {
  readonly changed?: 'keep' | 'apply';
  readonly withoutHosts?: boolean;
}

/** What differs between a restored control plane and its hosts. */
export async function restoreShow(session: Session): Promise<void> {
  const found = await session.client.restoreDifferences();
  const { terminal, format } = session;
  if (format === 'json') terminal.out(`${JSON.stringify(found, undefined, 2)}\n`);
  else if (format === 'yaml') terminal.out(await yamlText(found));
  else terminal.out(differencesText(found, terminal.columns));
}

/** Ends the standstill. */
export async function restoreRelease(session: Session, { changed, withoutHosts }: ReleaseFlags): Promise<void> {
  const released = await session.client.restoreRelease({
    ...(changed === undefined ? {} : { changed }),
    ...(withoutHosts === undefined ? {} : { withoutHosts }),
  });
  const { terminal, format } = session;
  if (format === 'json') terminal.out(`${JSON.stringify(released, undefined, 2)}\n`);
  else if (format === 'yaml') terminal.out(await yamlText(released));
  else terminal.out(releasedText(released));
}

function differencesText(found: RestoreDifferences, columns: number | undefined): string {
  const { restore, hosts, strangers, items, withheld } = found;
  if (restore === undefined) return 'this control plane was never restored from a backup\n';
  const { backup, backupAt, restoredAt, releasedAt, releasedBy } = restore;
  const waiting = hosts.filter(({ state }) => state === 'waiting').map(({ host }) => host);
  const compared = hosts.filter(({ state }) => state === 'compared').map(({ host }) => host);
  const lines = [
    `restored at ${restoredAt} from ${backup}, of ${backupAt}`,
    releasedAt === undefined
      ? 'it stands still: nothing is changed at any host'
      : `released at ${releasedAt} by ${releasedBy ?? 'somebody'}`,
    ...(compared.length === 0 ? [] : [`compared: ${compared.join(', ')}`]),
    ...(waiting.length === 0 ? [] : [`not compared, since not connected: ${waiting.join(', ')}`]),
    ...strangers.map(
      (name) => `enrolled after the backup: ${name}; make it known: virt8ra enrol ${name} --site SITE (its agent links by itself)`,
    ),
  ];
  const rows = items.map((item) => [
    item.class,
    item.name === undefined ? item.type : `${item.kind ?? item.type}/${item.name}`,
    item.from === undefined ? item.host : `${item.from} -> ${item.host}`,
    item.key,
    consequence(item),
    item.message,
  ]);
  const table = rows.length === 0 ? '' : tableText(['CLASS', 'WHAT', 'HOST', 'KEY', 'AT RELEASE', 'WHY'], rows, columns);
  const none = items.length === 0 && compared.length > 0 ? ['nothing differs'] : [];
  const left = withheld.map(({ kind, name, message }) => `withheld: ${kind}/${name}: ${message}`);
  return `${[...lines, ...none, ...left].join('\n')}\n${table}`;
}

function consequence({ class: what, decided }: RestoreDifferences['items'][number]): string {
  if (what === 'unknown') return 'stays at its host';
  if (!decided) return 'waits for its owner';
  return what === 'moved' ? 'is followed' : 'is kept';
}

function releasedText({ hosts, held, followed, withheld, kept, endedRuns }: RestoreReleased): string {
  return [
    `released: ${hosts.join(', ') || 'no host'}`,
    ...(held.length === 0 ? [] : [`still held: ${held.join(', ')}; release again when they are compared`]),
    `${followed} followed to where they are, ${kept} unknown left at their hosts, ${withheld} wait for their owners (virt8ra restore show)`,
    ...(endedRuns.length === 0 ? [] : [`not gone on with: ${endedRuns.join(', ')}`]),
    '',
  ].join('\n');
}
