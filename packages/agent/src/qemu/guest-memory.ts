import { balloonDevice } from './command-line.js';
import type { Guest } from './guest.js';

export interface GuestMemory {
  readonly usedBytes: number;
  readonly totalBytes: number;
}

/** The guest's kernel is asked so often; what it said is believed for so long. */
const askSeconds = 30;
const freshSeconds = 100;
/** QEMU's word for what the guest did not say. */
const unsaid = 2 ** 60;

interface BalloonStats {
  readonly 'last-update': number;
  readonly stats: Readonly<Record<string, number>>;
}

/**
 * What the guest's kernel said of its memory last; undefined where it has no driver for the balloon, has not spoken yet or not for long, or the process is
 * of a start that gave it no balloon. The first question for a process has it asked from then on.
 */
export async function guestMemory(guest: Guest, asked: WeakSet<Guest>): Promise<GuestMemory | undefined> {
  const device = `/machine/peripheral/${balloonDevice}`;
  if (!asked.has(guest)) {
    await guest.monitor.run('qom-set', { path: device, property: 'guest-stats-polling-interval', value: askSeconds });
    asked.add(guest);
    return undefined;
  }
  const { stats, 'last-update': at } = (await guest.monitor.run('qom-get', { path: device, property: 'guest-stats' })) as BalloonStats;
  if (Math.abs(Date.now() / 1000 - at) > freshSeconds) return undefined;
  const said = (name: string): number | undefined => {
    const value = stats[name];
    return value === undefined || value < 0 || value > unsaid ? undefined : value;
  };
  const total = said('stat-total-memory');
  const left = said('stat-available-memory') ?? said('stat-free-memory');
  return total === undefined || left === undefined || left > total ? undefined : { usedBytes: total - left, totalBytes: total };
}
