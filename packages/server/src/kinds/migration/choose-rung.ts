import { type MigrationSpec, Problem } from '@virt8ra/contract';
import type { HostObservation } from '@virt8ra/driver';
import type { KindContext } from '../context.js';
import { liveFault } from './live-fault.js';
import { hostsAt } from './live-outlook.js';
import type { MovePlan } from './plan.js';
import type { SurveyedMove } from './survey.js';

/** One way to move, the host that it would go to, or why it is none, in words that follow “because”. */
export interface Rung {
  readonly mode: MovePlan['mode'];
  /** Absent where no host fits at all. */
  readonly host?: string;
  readonly fault?: string;
}

/** Whether, and to which host, an instance can be moved in one way. A live move goes to the best host that can take the guest's memory. */
export async function rungOf(
  context: KindContext,
  mode: MovePlan['mode'],
  toSite: string,
  { from, survey, source, target, verdicts }: SurveyedMove,
): Promise<Rung> {
  const fitting = verdicts.filter(({ fits }) => fits);
  const best = fitting[0]?.host;
  const lacking = !source.capabilities.migrationModes.includes(mode)
    ? from.site
    : !target.capabilities.migrationModes.includes(mode)
      ? toSite
      : undefined;
  if (lacking !== undefined) return { mode, fault: `site ${lacking} cannot take part in a ${mode} move` };
  if (mode !== 'live' || best === undefined) return { mode, ...(best === undefined ? {} : { host: best }) };
  const hosts = await hostsAt(context, [from.site, toSite]);
  const at = (name: string): HostObservation | undefined => hosts.find(({ host }) => host === name);
  const faults = fitting.map(({ host }) => liveFault({ ...survey, source: at(from.host), target: at(host) }));
  const able = fitting[faults.indexOf(undefined)]?.host;
  const [fault] = faults;
  return able === undefined && fault !== undefined ? { mode, fault } : { mode, ...(able === undefined ? {} : { host: able }) };
}

/**
 * How it is done, and on which host. Where a live move is not possible it is refused (Problem unsupported), or becomes a warm move if the caller
 * consented to that.
 */
export async function chooseMode(
  context: KindContext,
  { mode, toSite, fallback }: Pick<MigrationSpec, 'mode' | 'toSite' | 'fallback'>,
  surveyed: SurveyedMove,
): Promise<{ readonly mode: MovePlan['mode']; readonly host: string | undefined; readonly fallbackReason?: string }> {
  let fallbackReason: string | undefined;
  if (mode === 'live') {
    const { host, fault } = await rungOf(context, 'live', toSite, surveyed);
    if (fault === undefined) return { mode, host };
    if (fallback === undefined)
      throw new Problem('unsupported', `it cannot be moved live, because ${fault}; move it warm, or consent with fallback warm`);
    fallbackReason = fault;
  }
  const chosen = mode === 'live' ? 'warm' : mode;
  const { host, fault } = await rungOf(context, chosen, toSite, surveyed);
  if (fault !== undefined) throw new Problem('unsupported', fault);
  return { mode: chosen, host, ...(fallbackReason === undefined ? {} : { fallbackReason }) };
}
