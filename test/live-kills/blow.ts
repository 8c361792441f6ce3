import { rest } from '@virt8ra/client';
import type { Plane } from '../tour-kills/plane.js';
import { killProcess, type ProcessLine, processTable } from '../tour-kills/process-table.js';
import type { Random } from '../tour-kills/random.js';
import { canPart, part } from './part.js';

/** What happens to a live move: something is killed with -9, or the two hosts lose sight of each other for a while. */
const faults = ['server', 'source-agent', 'target-agent', 'source-guest', 'target-guest', 'mover', 'partition'] as const;
export type Fault = (typeof faults)[number];

/** The memory goes, the permit changes hands and the guest stands still in `cutover`. */
const phases = ['prepare', 'copy', 'cutover', 'cutover', 'cutover', 'start', 'verify', 'settle', 'clean'] as const;
const order: readonly string[] = ['plan', 'prepare', 'copy', 'cutover', 'start', 'verify', 'settle', 'clean', 'done', 'returning'];

export interface LiveBlow {
  readonly fault: Fault;
  /** Begins to count at this phase of the move. */
  readonly phase: (typeof phases)[number];
  readonly delayMs: number;
  /** How long what was killed stays down, or the hosts apart. */
  readonly downMs: number;
}

export function drawLiveBlow(random: Random): LiveBlow {
  const fault = random.oneOf(faults.filter((each) => each !== 'partition' || canPart()));
  const downMs = fault === 'partition' ? random.between(500, 7_000) : random.between(0, 1_500);
  // A live move has a mover only while the disks are read again.
  const phase = fault === 'mover' ? 'verify' : random.oneOf(phases);
  return { fault, phase, delayMs: random.between(0, 600), downMs };
}

export function tellLiveBlow({ fault, phase, delayMs, downMs }: LiveBlow): string {
  return `${fault} ${delayMs} ms into ${phase}, for ${downMs} ms`;
}

/** What has been seen of the move. */
export interface LiveSight {
  phase: string;
  over: boolean;
}

/** Waits for the moment and strikes; resolves when what was hit is up again. False when there was nothing to hit. */
export async function strikeLive(
  blow: LiveBlow,
  plane: Plane,
  route: { readonly from: string; readonly to: string },
  sight: LiveSight,
  signal: AbortSignal,
): Promise<boolean> {
  while (!sight.over && order.indexOf(sight.phase) < order.indexOf(blow.phase)) await rest(5, signal);
  await rest(blow.delayMs, signal);
  switch (blow.fault) {
    case 'server':
    case 'source-agent':
    case 'target-agent':
      return await plane.strike(blow.fault, route.from, blow.downMs);
    case 'mover':
      return await plane.strike(blow.fault, route.from, blow.downMs);
    case 'source-guest':
      return killAll(guestsAt(plane, route.from));
    case 'target-guest':
      return killAll(guestsAt(plane, route.to));
    case 'partition':
      return await part([plane.agentOf(route.to).pid, ...guestsAt(plane, route.to).map(({ pid }) => pid)], blow.downMs, signal);
  }
}

/** Processes of guests that belong to the agent of a site, running or not. */
export function guestsAt(plane: Plane, site: string): ProcessLine[] {
  const folder = `${plane.agentOf(site).state}/`;
  return processTable().filter(({ words }) => words[0]?.includes('qemu-system') === true && words.some((word) => word.includes(folder)));
}

function killAll(lines: readonly ProcessLine[]): boolean {
  return lines.map((line) => killProcess(line)).includes(true);
}
