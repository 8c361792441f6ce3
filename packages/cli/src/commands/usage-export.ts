import { Problem, type UsageRecord, usageColumns } from '@virt8ra/contract';
import { tableText } from '../output/table.js';
import { durationText } from '../output/units.js';
import { yamlText } from '../output/yaml.js';
import type { Session } from '../session.js';

export interface UsageFlags {
  readonly from?: string;
  readonly to?: string;
  readonly csv?: boolean;
  readonly lines?: boolean;
}

/** Usage records of the session's workspace, or of its whole tenant; printed as they arrive where the format allows it. */
export async function usageExport(session: Session, { from, to, csv = false, lines = false }: UsageFlags): Promise<void> {
  const { tenant, workspace, terminal, format } = session;
  if (tenant === undefined) throw new Problem('invalid-request', 'of which tenant? Name it by --tenant or in the context');
  if (csv && lines) throw new Problem('invalid-request', 'write --csv or --lines, not both');
  const records = session.client.usageRecords({ tenant, workspace, from, to });
  if (csv) terminal.out(`${usageColumns.join(',')}\n`);
  const items: UsageRecord[] = [];
  for await (const record of records) {
    if (csv) terminal.out(`${usageColumns.map((column) => record[column] ?? '').join(',')}\n`);
    else if (lines) terminal.out(`${JSON.stringify(record)}\n`);
    else items.push(record);
  }
  if (csv || lines) return;
  if (format === 'json') terminal.out(`${JSON.stringify({ items }, undefined, 2)}\n`);
  else if (format === 'yaml') terminal.out(await yamlText({ items }));
  else if (items.length === 0) terminal.err('nothing is on record there\n');
  else terminal.out(tableText(titles, items.map(row), terminal.columns));
}

const titles = ['HOUR', 'WORKSPACE', 'KIND', 'NAME', 'TIME', 'VCPU·H', 'GIB·H', 'GB·H'] as const;

function row({ hour, workspace, kind, name, seconds, vCPUSeconds, ramSeconds, storageGBSeconds }: UsageRecord): string[] {
  return [
    hour.slice(0, 16),
    workspace,
    kind,
    name,
    durationText(seconds),
    ...[vCPUSeconds, ramSeconds, storageGBSeconds].map((each) => (each === undefined ? '-' : (each / 3600).toFixed(2))),
  ];
}
