import { type AuditRecord, Problem, urnFromAddress } from '@virt8ra/contract';
import { countOfFlag } from '../duration-flag.js';
import { tableText } from '../output/table.js';
import { yamlText } from '../output/yaml.js';
import { type Session, targetsFromWords } from '../session.js';

export interface AuditListFlags {
  readonly all?: boolean;
  readonly limit?: string;
}

const titles = ['AT', 'WHO', 'FROM', 'WHAT', 'RESOURCE', 'CODE', 'SEALED'] as const;

/** The audit, newest first: of one resource, of the session's tenant, or of everything. */
export async function auditList(session: Session, words: readonly string[], flags: AuditListFlags): Promise<void> {
  const limit = countOfFlag('--limit', flags.limit) ?? 50;
  const targets = words.length === 0 ? [] : targetsFromWords(session, words);
  if (targets.length > 1) throw new Problem('invalid-request', 'name one resource, or none');
  const [target] = targets;
  const resource = target === undefined ? undefined : urnFromAddress(target.kind, target.address);
  const tenant = flags.all === true ? undefined : target === undefined ? session.tenant : target.address.tenant;
  if (tenant === undefined && flags.all !== true && target === undefined)
    throw new Problem('invalid-request', 'of which tenant? Name it by --tenant, or --all for the whole audit');
  const items: AuditRecord[] = [];
  for await (const record of session.client.audit({ tenant, resource, pageSize: Math.min(limit, 1000) })) {
    items.push(record);
    if (items.length === limit) break;
  }
  const { terminal, format } = session;
  if (format === 'json') terminal.out(`${JSON.stringify({ items }, undefined, 2)}\n`);
  else if (format === 'yaml') terminal.out(await yamlText({ items }));
  else if (items.length === 0) terminal.err('nothing is written down there\n');
  else
    terminal.out(
      tableText(
        format === 'wide' ? [...titles, 'BEFORE', 'AFTER', 'REASON'] : titles,
        items.map(format === 'wide' ? wideRow : rowOf),
        terminal.columns,
      ),
    );
}

function rowOf({ at, subject, remote, verb, resource, code, position }: AuditRecord): string[] {
  return [at, subject || '?', remote || '-', verb, resource, String(code), position === undefined ? 'not yet' : String(position)];
}

function wideRow(record: AuditRecord): string[] {
  const { before = '-', after = '-', reason = '-' } = record;
  return [...rowOf(record), before, after, reason];
}
