import { isDeepStrictEqual } from 'node:util';
import type { ResourceOf } from '@virt8ra/client';
import { instance, longestWayBackHours, type MigrationSpec, migration, Problem } from '@virt8ra/contract';
import { kindOfEnd, reasonOf } from '../await-resource.js';
import { bootProbeOfFlag } from '../boot-probe-flag.js';
import { cutoverOfFlag } from '../cutover-flag.js';
import { countOfFlag, secondsOfFlag } from '../duration-flag.js';
import { followMove } from '../follow-move.js';
import { measuredLines } from '../output/move-text.js';
import { printResources } from '../output/print-resources.js';
import { plain } from '../output/table.js';
import { bytesText, durationText } from '../output/units.js';
import { addressOf, type Session, type Target, titleOf } from '../session.js';

export interface MigrateFlags {
  readonly to: string;
  readonly host?: string;
  readonly mode: MigrationSpec['mode'];
  readonly fallback?: 'warm';
  readonly name?: string;
  readonly minPasses?: string;
  readonly guestChanges?: 'none' | 'needed' | false;
  readonly cutover?: string;
  readonly bootProbe?: string;
  readonly losePublicIps?: boolean;
  readonly keep?: string;
  readonly detach?: boolean;
}

type Migration = ResourceOf<typeof migration>;

/**
 * Moves an instance to another site and shows how it goes. An interrupt leaves the move running. With the name of a move that exists
 * already it is followed, so that a lost terminal costs nothing. Raises `cancelled` when it was called off,
 * `exhausted` when a disk was full, `internal` when it failed otherwise.
 */
export async function migrationStart(session: Session, instanceName: string, flags: MigrateFlags): Promise<void> {
  const { terminal, client } = session;
  const { name, spec } = specOfMove(instanceName, flags);
  const target: Target = {
    kind: migration,
    address: addressOf(session, migration, flags.name ?? nameOfMove(name, flags.to, terminal.now())),
  };
  const existing = flags.name === undefined ? undefined : await client.find(migration, target.address);
  if (existing === undefined) await client.put(migration, target.address, { spec });
  else if (!isDeepStrictEqual(existing.spec, spec)) throw new Problem('conflict', `${titleOf(target)} exists already and is another move`);

  if (flags.detach === true) {
    if (session.format === 'name') terminal.out(`${titleOf(target)}\n`);
    else terminal.out(`${titleOf(target)} started\n${followHint(target)}`);
    return;
  }
  const startedAt = terminal.now();
  const ended = await followMove(session, target, ({ status: now }) => isOver(now?.phase), followHint(target));
  const status = ended.status ?? { conditions: [] };
  if (status.phase !== 'done' && status.phase !== 'kept') throw failure(target, ended);
  const unequal = (status.digests ?? []).filter((digest) => !digest.equal);
  if (session.format === 'table' || session.format === 'wide')
    terminal.out(summaryText(target, name, ended, (terminal.now() - startedAt) / 1000));
  else await printResources(session, migration, [ended], { single: true });
  if (unequal.length > 0) {
    throw new Problem('internal', `digests differ after ${titleOf(target)}: disk ${unequal.map((digest) => digest.disk).join(', ')}`);
  }
}

/** What is asked for, by the instance's bare name. */
export function specOfMove(
  instanceName: string,
  flags: Omit<MigrateFlags, 'name' | 'detach'>,
): { readonly name: string; readonly spec: MigrationSpec } {
  const minPasses = countOfFlag('--min-passes', flags.minPasses);
  const hours = hoursOfFlag(flags.keep);
  const bootProbe = bootProbeOfFlag('--boot-probe', flags.bootProbe);
  const cutover = cutoverOfFlag('--cutover', flags.cutover);
  const name = instanceName.replace(/^instances?\//, '');
  return {
    name,
    spec: {
      instanceRef: `${instance.collection}/${name}`,
      toSite: flags.to,
      ...(flags.host === undefined ? {} : { toHost: flags.host }),
      mode: flags.mode,
      ...(minPasses === undefined ? {} : { minPasses }),
      ...(cutover === undefined ? {} : { cutover }),
      ...(bootProbe === undefined ? {} : { bootProbe }),
      ...(flags.losePublicIps === true ? { losePublicIps: true } : {}),
      ...(flags.fallback === undefined ? {} : { fallback: flags.fallback }),
      ...(flags.guestChanges === undefined ? {} : { guestChanges: flags.guestChanges === false ? 'none' : flags.guestChanges }),
      ...(hours === undefined ? {} : { wayBack: { hours } }),
    },
  };
}

const evidenceText = {
  'guest-agent': 'its guest agent',
  'serial-console': 'its serial console',
  'disk-reads': 'its process and what it read from its disks',
} as const;

function followHint({ address }: Target): string {
  return `  follow: virt8ra wait migration ${address.name} --for phase=done\n  cancel: virt8ra cancel ${address.name}\n`;
}

/** Whole hours of `--keep`. Raises `invalid-request` for anything else. */
function hoursOfFlag(text: string | undefined): number | undefined {
  const seconds = secondsOfFlag('--keep', text);
  if (seconds === undefined) return undefined;
  const hours = seconds / 3600;
  if (!Number.isInteger(hours) || hours > longestWayBackHours)
    throw new Problem('invalid-request', `--keep ${text}: write whole hours, at most ${longestWayBackHours / 24} days, such as 24h or 7d`);
  return hours;
}

function isOver(phase: string | undefined): boolean {
  return phase === 'done' || phase === 'kept' || phase === 'failed' || phase === 'returned';
}

/** Names sort by time and never meet: instance, site and the second in base 36. */
function nameOfMove(instanceName: string, site: string, now: number): string {
  return `${instanceName.slice(0, 80)}-to-${site.toLowerCase()}-${Math.floor(now / 1000).toString(36)}`;
}

function failure(target: Target, ended: Migration): Problem {
  const { phase, problem, problemCode, from } = ended.status ?? {};
  const reason = problem ?? reasonOf(ended) ?? 'no reason given';
  const history = (ended.status?.conditions ?? []).some((condition) => /cancel/i.test(`${condition.type ?? ''} ${condition.reason ?? ''}`));
  const cancelled = phase === 'returned' && (history || /cancel/i.test(reason));
  const tail = ended.status?.bootProbe?.state === 'failed' ? ended.status.bootProbe.serialTail : undefined;
  const where = phase === 'returned' ? `; the instance is back at ${from?.site ?? 'its site'}` : '';
  const kind = cancelled ? 'cancelled' : kindOfEnd(problemCode);
  return new Problem(
    kind,
    `${titleOf(target)} ${cancelled ? 'was cancelled' : phase}: ${reason}${where}${tail === undefined ? '' : `\nthe end of its serial console:\n${plain(tail)}`}`,
    {
      facts: { hint: `virt8ra describe ${titleOf(target)}` },
    },
  );
}

function summaryText(target: Target, instanceName: string, ended: Migration, watchedSeconds: number): string {
  const { status, spec } = ended;
  const { startedAt, finishedAt } = status ?? {};
  const seconds =
    startedAt === undefined || finishedAt === undefined ? watchedSeconds : (Date.parse(finishedAt) - Date.parse(startedAt)) / 1000;
  const host = status?.to?.host === undefined ? '' : ` on ${status.to.host}`;
  const lines = [
    `${instanceName} runs at ${status?.to?.site ?? spec.toSite}${host} after ${durationText(seconds)} (${titleOf(target)}, ${status?.mode ?? spec.mode})`,
  ];
  if (status?.fallbackReason !== undefined) lines.push(`  warm      not live, because ${status.fallbackReason}`);
  if (status?.bootProbe?.observed !== undefined)
    lines.push(
      `  booted    ${status.bootProbe.in === 'isolation' ? 'in isolation' : 'in its place'}, as ${evidenceText[status.bootProbe.observed]} showed`,
    );
  lines.push(...measuredLines({ ...status, mode: status?.mode ?? spec.mode }));
  if (status?.guestChanges !== undefined) {
    lines.push(`  guest     ${status.guestChanges.length === 0 ? 'nothing inside had to be changed' : 'changed in the copy:'}`);
    for (const { code, file, why } of status.guestChanges) lines.push(`            ${plain(`${file} (${code}): ${why}`)}`);
  }
  if (status?.wayBack !== undefined) {
    lines.push(
      `  way back  to ${status.wayBack.at.host} until ${status.wayBack.until}, ${bytesText(status.wayBack.retainedBytes)} kept there`,
    );
    lines.push(`            virt8ra migration return ${target.address.name}, or release it`);
  }
  return `${lines.join('\n')}\n`;
}
