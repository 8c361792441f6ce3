import { type HostPath, type HostUsage, type InstanceUsage, type PathFigure, Problem } from '@virt8ra/contract';
import { tableText } from '../output/table.js';
import { bytesText, durationText } from '../output/units.js';
import { yamlText } from '../output/yaml.js';
import type { Session } from '../session.js';

/** What hosts or instances use now, those with most processor first. What sends nothing is not listed: nothing is known of it. */
export async function usageTop(session: Session, noun: string, flags: { readonly limit?: string }): Promise<void> {
  const limit = Number(flags.limit ?? 50);
  if (!Number.isInteger(limit) || limit < 1) throw new Problem('invalid-request', `--limit ${flags.limit}: write a whole number from 1`);
  if (/^hosts?$/.test(noun))
    return await print(session, (await session.client.hostUsage()).toSorted(byCpu).slice(0, limit), hostTitles, hostRow);
  if (/^paths?$/.test(noun)) return await print(session, (await session.client.paths()).slice(0, limit), pathTitles, pathRow);
  if (!/^(instances?|vms?)$/.test(noun))
    throw new Problem('invalid-request', `what ${noun} use is not measured; write hosts, instances or paths`);
  const { tenant, workspace } = session;
  if (tenant === undefined || workspace === undefined)
    throw new Problem('invalid-request', 'of which workspace? Name it by --tenant and --workspace, or in the context');
  await print(session, (await session.client.instanceUsage({ tenant, workspace })).toSorted(byCpu).slice(0, limit), guestTitles, guestRow);
}

const flow = ['DISK READ/S', 'WRITE/S', 'NET IN/S', 'OUT/S'] as const;
const hostTitles = ['HOST', 'CPU', 'STEAL', 'MEMORY', 'FREE DISK', 'GUESTS', ...flow, 'MOVES/S'];
const guestTitles = ['INSTANCE', 'HOST', 'CPU', 'STEAL', 'MEMORY', 'IN GUEST', ...flow];

const pathTitles = ['FROM', 'TO', 'SITES', 'RTT', 'AGE', 'CARRIED/S', 'BY', 'AGE', 'NOT KNOWN BECAUSE'];

function byCpu(a: { readonly cpu: number }, b: { readonly cpu: number }): number {
  return b.cpu - a.cpu;
}

function hostRow(usage: HostUsage): string[] {
  const { host, cpu, threads, steal, memoryBytes, memoryTotalBytes, diskFreeBytes, guests, transferPerSecond } = usage;
  const memory = `${bytesText(memoryBytes)}/${bytesText(memoryTotalBytes)}`;
  return [
    host,
    `${cpu.toFixed(2)}/${threads}`,
    steal.toFixed(2),
    memory,
    bytesText(diskFreeBytes),
    String(guests),
    ...flows(usage),
    bytesText(transferPerSecond),
  ];
}

function guestRow(usage: InstanceUsage): string[] {
  const { instance, host, cpu, steal, memoryBytes, guestMemoryUsedBytes: used, guestMemoryTotalBytes: total } = usage;
  const inside = used === undefined || total === undefined ? '-' : `${bytesText(used)}/${bytesText(total)}`;
  return [instance, host, cpu.toFixed(2), steal.toFixed(2), bytesText(memoryBytes), inside, ...flows(usage)];
}

function pathRow({ from, to, rttMs, bytesPerSecond }: HostPath): string[] {
  const reasons = [rttMs, bytesPerSecond].flatMap((figure) => (figure.value === 'unknown' ? [figure.reason] : []));
  return [
    from.host,
    to.host,
    from.site === to.site ? from.site : `${from.site} → ${to.site}`,
    rttMs.value === 'unknown' ? '?' : `${Number(rttMs.value.toPrecision(3))} ms`,
    ageOf(rttMs),
    bytesPerSecond.value === 'unknown' ? '?' : bytesText(bytesPerSecond.value),
    bytesPerSecond.source ?? '-',
    ageOf(bytesPerSecond),
    [...new Set(reasons)].join('; ') || '-',
  ];
}

function ageOf({ observedAt }: PathFigure): string {
  return observedAt === undefined ? '-' : durationText((Date.now() - Date.parse(observedAt)) / 1000);
}

function flows({ diskReadPerSecond, diskWritePerSecond, netInPerSecond, netOutPerSecond }: Partial<HostUsage>): string[] {
  return [diskReadPerSecond, diskWritePerSecond, netInPerSecond, netOutPerSecond].map((each) =>
    each === undefined ? '-' : bytesText(each),
  );
}

async function print<Usage>(
  session: Session,
  items: readonly Usage[],
  titles: readonly string[],
  row: (usage: Usage) => string[],
): Promise<void> {
  const { terminal, format } = session;
  if (format === 'json') terminal.out(`${JSON.stringify({ items }, undefined, 2)}\n`);
  else if (format === 'yaml') terminal.out(await yamlText({ items }));
  else terminal.out(tableText(titles, items.map(row), terminal.columns));
}
