import { rest } from '@virt8ra/client';
import { migrationPhases } from '@virt8ra/contract';
import { type Act, always } from './acts.js';
import type { Plane, Victim } from './plane.js';
import type { Random } from './random.js';

/** What is killed, when, and how long it is left down. All of it follows from the seed. */
export interface Blow {
  readonly victim: Victim;
  /** Killed in the same moment. */
  readonly second?: Victim;
  /** Of a move: begins to count at this phase. */
  readonly phase?: string;
  readonly delayMs: number;
  readonly downMs: number;
  /** The first is killed again so long after it came up. */
  readonly againMs?: number;
}

/** Of a move that is asked to cut over. */
const askedPhases = ['probe', 'waiting'] as const;
const phases = ['plan', 'prepare', 'copy', 'passes', 'cutover', 'start', 'verify', 'settle', 'clean'] as const;
/** These live during some phases only. */
const copying = ['prepare', 'copy', 'passes', 'cutover'] as const;
/** Of every so many blows one hits two, and one hits again. */
const doubleEvery = 3;
const againEvery = 4;

export function drawBlow(act: Act, random: Random): Blow {
  const victim = random.oneOf(act.victims);
  const downMs = random.between(0, 1_500);
  const other = random.oneOf(always);
  const hits = {
    victim,
    ...(random.between(0, doubleEvery) === 0 && other !== victim ? { second: other } : {}),
    ...(random.between(0, againEvery) === 0 ? { againMs: random.between(0, 2_000) } : {}),
  };
  if (!act.move) return { ...hits, downMs, delayMs: random.between(0, act.usualMs) };
  const phase = random.oneOf([...(isBrief(victim) ? copying : phases), ...(act.asks === true ? askedPhases : [])]);
  return { ...hits, phase, downMs, delayMs: random.between(0, 600) };
}

export function tellBlow({ victim, second, phase, delayMs, downMs, againMs }: Blow): string {
  const when = phase === undefined ? `after ${delayMs} ms` : `${delayMs} ms into ${phase}`;
  const again = againMs === undefined ? '' : `, killed again ${againMs} ms later`;
  return `${victim}${second === undefined ? '' : ` and ${second}`} ${when}, down for ${downMs} ms${again}`;
}

function isBrief(victim: Victim): boolean {
  return victim === 'mover' || victim === 'image-server';
}

/** What has been seen of the act. */
export interface Sight {
  phase: string;
  over: boolean;
}

/**
 * Waits for the moment and strikes; resolves when what was killed is up again, with what was hit. A mover that is not there yet is waited
 * for; where none came before the act was over, the source's agent is taken instead.
 */
export async function strike(blow: Blow, plane: Plane, source: string, sight: Sight, signal: AbortSignal): Promise<string> {
  if (blow.phase !== undefined) while (!sight.over && rank(sight.phase) < rank(blow.phase)) await rest(10, signal);
  if (!sight.over) await rest(blow.delayMs, signal);
  const struck = await Promise.all([hit(blow.victim), blow.second === undefined ? undefined : hit(blow.second)]);
  if (blow.againMs !== undefined) {
    await rest(blow.againMs, signal);
    if (await plane.strike(blow.victim, source, blow.downMs)) struck.push(blow.victim);
  }
  return struck.filter((victim) => victim !== undefined).join(', ');

  async function hit(victim: Victim): Promise<Victim | undefined> {
    while (!(await plane.strike(victim, source, blow.downMs))) {
      if (!isBrief(victim)) return undefined;
      if (sight.over) return blow.second === 'source-agent' ? undefined : await hit('source-agent');
      await rest(5, signal);
    }
    return victim;
  }
}

function rank(phase: string): number {
  return (migrationPhases as readonly string[]).indexOf(phase);
}
