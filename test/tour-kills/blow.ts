import { rest } from '@virt8ra/cli';
import { migrationPhases } from '@virt8ra/contract';
import type { Act } from './acts.js';
import type { Plane, Victim } from './plane.js';
import type { Random } from './random.js';

/** What is killed, when, and how long it is left down. All of it follows from the seed. */
export interface Blow {
  readonly victim: Victim;
  /** Of a move: begins to count at this phase. */
  readonly phase?: string;
  readonly delayMs: number;
  readonly downMs: number;
}

const phases = ['plan', 'prepare', 'copy', 'passes', 'cutover', 'start', 'verify', 'settle', 'clean'] as const;
/** These live during some phases only. */
const copying = ['prepare', 'copy', 'passes', 'cutover'] as const;

export function drawBlow(act: Act, random: Random): Blow {
  const victim = random.oneOf(act.victims);
  const downMs = random.between(0, 1_500);
  if (!act.move) return { victim, downMs, delayMs: random.between(0, act.usualMs) };
  const phase = random.oneOf(victim === 'mover' || victim === 'image-server' ? copying : phases);
  return { victim, phase, downMs, delayMs: random.between(0, 600) };
}

export function tellBlow({ victim, phase, delayMs, downMs }: Blow): string {
  const when = phase === undefined ? `after ${delayMs} ms` : `${delayMs} ms into ${phase}`;
  return `${victim} ${when}${victim.endsWith('agent') || victim === 'server' ? `, down for ${downMs} ms` : ''}`;
}

/** What has been seen of the act. */
export interface Sight {
  phase: string;
  over: boolean;
}

/**
 * Waits for the moment and strikes; resolves when what was killed is up again, with the victim that was hit. A mover that is not there yet is
 * waited for; where none came before the act was over, the source's agent is taken instead.
 */
export async function strike(blow: Blow, plane: Plane, source: string, sight: Sight, signal: AbortSignal): Promise<Victim> {
  if (blow.phase !== undefined) while (!sight.over && rank(sight.phase) < rank(blow.phase)) await rest(10, signal);
  if (!sight.over) await rest(blow.delayMs, signal);
  const brief = blow.victim === 'mover' || blow.victim === 'image-server';
  for (;;) {
    if (await plane.strike(blow.victim, source, blow.downMs)) return blow.victim;
    if (!brief || sight.over) break;
    await rest(5, signal);
  }
  await plane.strike('source-agent', source, blow.downMs);
  return 'source-agent';
}

function rank(phase: string): number {
  return (migrationPhases as readonly string[]).indexOf(phase);
}
