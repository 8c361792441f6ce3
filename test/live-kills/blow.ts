import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { rest } from '@virt8ra/cli';
import type { Plane } from '../tour-kills/plane.js';
import { killProcess, processTable } from '../tour-kills/process-table.js';
import type { Random } from '../tour-kills/random.js';

/** What happens to a live move: something is killed with -9, or the two hosts lose sight of each other for a while. */
export const faults = ['server', 'source-agent', 'target-agent', 'source-guest', 'target-guest', 'partition'] as const;
export type Fault = (typeof faults)[number];

export interface LiveBlow {
  readonly fault: Fault;
  /** Begins to count at this phase of the move. */
  readonly phase: (typeof phases)[number];
  readonly delayMs: number;
  /** How long what was killed stays down, or the hosts apart. */
  readonly downMs: number;
}

/** The memory goes, the permit changes hands and the guest stands still in `cutover`. */
const phases = ['prepare', 'copy', 'cutover', 'cutover', 'cutover', 'cutover', 'start', 'verify'] as const;
const order: readonly string[] = [
  'plan',
  'prepare',
  'copy',
  'passes',
  'cutover',
  'start',
  'verify',
  'settle',
  'clean',
  'done',
  'returning',
  'returned',
  'failed',
];

export function canPartition(): boolean {
  return process.getuid?.() === 0 && existsSync('/usr/sbin/nft');
}

export function drawLiveBlow(random: Random): LiveBlow {
  const fault = random.oneOf(faults.filter((each) => each !== 'partition' || canPartition()));
  const downMs = fault === 'partition' ? random.between(500, 9_000) : random.between(0, 1_500);
  return { fault, phase: random.oneOf(phases), delayMs: random.between(0, 1_200), downMs };
}

export function tellLiveBlow({ fault, phase, delayMs, downMs }: LiveBlow): string {
  return `${fault} ${delayMs} ms into ${phase}, for ${downMs} ms`;
}

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
    case 'source-guest':
      return killGuests(plane, route.from);
    case 'target-guest':
      return killGuests(plane, route.to);
    case 'partition':
      return await partition(plane, route.to, blow.downMs, signal);
  }
}

function guestsAt(plane: Plane, site: string) {
  const folder = `${plane.agentOf(site).state}/`;
  return processTable().filter(({ words }) => words[0]?.includes('qemu-system') === true && words.some((word) => word.includes(folder)));
}

function killGuests(plane: Plane, site: string): boolean {
  return guestsAt(plane, site)
    .map((guest) => killProcess(guest))
    .includes(true);
}

/** Drops, in both directions and without a word, everything for the ports on which the target's agent and its guest's process listen. */
async function partition(plane: Plane, site: string, ms: number, signal: AbortSignal): Promise<boolean> {
  const pids = new Set([plane.agentOf(site).pid, ...guestsAt(plane, site).map(({ pid }) => pid)]);
  const lines = execFileSync('ss', ['-ltnpH'], { encoding: 'utf8' }).split('\n');
  const ports = lines
    .filter((line) => [...line.matchAll(/pid=(\d+)/g)].some(([, pid]) => pids.has(Number(pid))))
    .map((line) => Number(/:(\d+)\s/.exec(line)?.[1]))
    .filter((port) => Number.isInteger(port));
  if (ports.length === 0) return false;
  const table = `v8live${process.pid}`;
  const set = ports.join(', ');
  const nft = (text: string) => execFileSync('/usr/sbin/nft', ['-f', '-'], { input: text });
  nft(`table inet ${table} {
  chain cut {
    type filter hook input priority -5; policy accept;
    tcp dport { ${set} } drop
    tcp sport { ${set} } drop
  }
}
`);
  try {
    await rest(ms, signal);
  } finally {
    nft(`delete table inet ${table}\n`);
  }
  return true;
}
