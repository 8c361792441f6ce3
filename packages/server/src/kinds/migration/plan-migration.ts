import { type MigrationPlan, type MigrationSpec, type MoveFinding, Problem } from '@virt8ra/contract';
import { explainRefusals } from '../../placement/placement.js';
import type { StoredResource } from '../../resources/stored-resource.js';
import type { KindContext } from '../context.js';
import { type Rung, rungOf } from './choose-rung.js';
import { forecastMove } from './forecast.js';
import { guestFindings, notInspected } from './guest-findings.js';
import { examine, type Objection } from './objections.js';
import { preflightFactsOf, questionOn } from './outlook.js';
import { usualPasses } from './plan.js';
import { preflight } from './preflight.js';
import { type SurveyedMove, surveyMove } from './survey.js';

/** What a path was measured at longer ago is measured again when that is asked for. */
const freshMs = 600_000;
const best = ['live', 'warm', 'cold'] as const;

/**
 * What a migration would do: where it would go, how, what stands in the way, and what it would take. Nothing is claimed, written or stopped; with
 * `measure` the link is measured. `maySee` decides on the instance that is found. Raises `not-found` where there is none that the caller sees.
 */
export async function planMigration(
  context: KindContext,
  asked: Pick<StoredResource<MigrationSpec>, 'address' | 'spec'> & {
    readonly measure: boolean;
    /** Whether its host looks inside the guest for it. */
    readonly inspect?: boolean;
    readonly maySee: (instance: StoredResource) => Promise<boolean>;
  },
): Promise<MigrationPlan> {
  const { spec, measure, inspect = false, maySee } = asked;
  const objections: Objection[] = [];
  const examined = await context.store.transaction(async (tx) => await examine(context, tx, asked, (each) => objections.push(each)));
  const { instance, from } = examined;
  const { name } = instance.address;
  if (!(await maySee(instance))) throw new Problem('not-found', `there is no instance ${name}`);
  const findings: MoveFinding[] = objections.map(({ code, problem, where, mend }) => ({
    code,
    severity: 'blocks',
    what: problem.message,
    where,
    mend,
  }));
  const plan = { instance: name, at: context.now().toISOString() };
  const blocked = (code: string, where: string, problem: Problem, mend: string): void => {
    findings.push({ code, severity: 'blocks', what: problem.message, where, mend });
  };
  if (from === undefined) return { ...plan, verdict: 'blocked', rungs: [], ranking: [], findings };
  let surveyed: SurveyedMove;
  try {
    // Whether it runs is among the objections already; the survey shall not end there.
    surveyed = await surveyMove(context, instance, { ...spec, mode: 'cold' });
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    blocked('not-movable', `instance/${name}`, error, mendOf(error));
    return { ...plan, verdict: 'blocked', from, rungs: [], ranking: [], findings };
  }
  const rungs = await Promise.all(best.map(async (mode) => await rungWhere(context, mode, spec.toSite, surveyed)));
  const wanted = rungs.find(({ mode }) => mode === spec.mode);
  const fallback = spec.mode === 'live' && wanted?.fault !== undefined && spec.fallback === 'warm';
  const chosen = fallback ? rungs.find(({ mode }) => mode === 'warm') : wanted;
  const { verdicts } = surveyed;
  if (!verdicts.some(({ fits }) => fits))
    blocked(
      'no-host-fits',
      `site/${spec.toSite}`,
      new Problem('conflict', `nothing at ${spec.toSite} can take it: ${explainRefusals(verdicts)}`),
      'do what the ranking says of one of its hosts, or choose another site',
    );
  else if (chosen?.fault !== undefined && !findings.some(({ code }) => code === 'not-running'))
    blocked('mode-impossible', `instance/${name}`, new Problem('unsupported', faultText(spec.mode, chosen.fault)), modeMend(spec.mode));
  else if (fallback && wanted?.fault !== undefined)
    findings.push({
      code: 'falls-back',
      severity: 'warns',
      what: `it would be moved warm, because ${wanted.fault}`,
      where: `instance/${name}`,
      mend: 'choose a host that can take it live, or agree to a pause and a boot',
    });
  const host = chosen?.fault === undefined ? chosen?.host : undefined;
  const decided =
    chosen === undefined || host === undefined
      ? undefined
      : { instance, minPasses: spec.minPasses ?? usualPasses, surveyed, mode: chosen.mode, to: { site: spec.toSite, host } };
  const shown = {
    ...plan,
    from,
    rungs: rungs.map(({ mode, fault }) => ({ mode, possible: fault === undefined, ...(fault === undefined ? {} : { reason: fault }) })),
    ranking: verdicts.map(({ site, host: each, fits, reason, mend }) => ({
      site,
      host: each,
      fits,
      reason,
      ...(mend === undefined ? {} : { mend }),
    })),
  };
  if (decided === undefined) return { ...shown, verdict: 'blocked', findings: [...findings, notInspected(name)] };
  if (measure) await measureLink(context, from.host ?? '', decided.to.host, findings);
  const forecast = forecastMove(await questionOn(context, decided));
  const judged = preflight(await preflightFactsOf(context, decided, forecast));
  const known = new Set(findings.map(({ code }) => code));
  const inside = inspect ? await guestFindings(context, instance, surveyed.from, surveyed.survey.instance.handle) : [notInspected(name)];
  const all = [...findings, ...judged.filter(({ code }) => !known.has(code)), ...inside];
  const order = ['blocks', 'warns', 'info'];
  return {
    ...shown,
    verdict: all.some(({ severity }) => severity === 'blocks') ? 'blocked' : 'ready',
    to: decided.to,
    mode: decided.mode,
    findings: all.toSorted((one, other) => order.indexOf(one.severity) - order.indexOf(other.severity)),
    forecast,
  };
}

/** One that needs the guest running is none while it does not. */
async function rungWhere(context: KindContext, mode: Rung['mode'], toSite: string, surveyed: SurveyedMove): Promise<Rung> {
  const rung = await rungOf(context, mode, toSite, surveyed);
  const { activity } = surveyed.survey;
  if (mode === 'cold' || activity === 'running' || rung.fault !== undefined) return rung;
  return { mode, fault: `it is ${activity}, and a ${mode} move needs it running` };
}

/** A figure that is young enough stays; why there is no new one is told with the rest. */
async function measureLink(context: KindContext, from: string, to: string, findings: MoveFinding[]): Promise<void> {
  const { measures } = context;
  if (measures === undefined) return;
  const newest = (await measures.path(from, to)).find(({ bytesPerSecond }) => bytesPerSecond !== undefined);
  if (newest !== undefined && context.now().getTime() - Date.parse(newest.at) < freshMs) return;
  const reason = await measures.measurePath(from, to);
  if (reason === undefined) return;
  findings.push({
    code: 'link-not-measured',
    severity: newest === undefined ? 'warns' : 'info',
    what: `what ${from} and ${to} carry to each other could not be measured now: ${reason}`,
    where: `path/${from}/${to}`,
    mend: 'see that the target’s data ports are open to the source (virt8ra-agent doctor), and ask again',
  });
}

function faultText(mode: Rung['mode'], fault: string): string {
  return mode === 'live' ? `it cannot be moved live, because ${fault}` : fault;
}

function modeMend(mode: Rung['mode']): string {
  return mode === 'live' ? 'move it with --mode warm, or consent with --fallback warm' : 'choose another site, or another --mode';
}

function mendOf({ kind }: Problem): string {
  if (kind === 'unavailable') return 'ask again in a moment';
  return kind === 'unsupported' ? 'choose another site' : 'see to what it says, and ask again';
}
