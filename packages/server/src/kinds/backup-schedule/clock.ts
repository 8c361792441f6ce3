import type { BackupScheduleSpec } from '@virt8ra/contract';

const hourMs = 3_600_000;
const dayMs = 24 * hourMs;

/** The first moment after `after` at which a schedule is due. Times are UTC. */
export function nextDue(every: BackupScheduleSpec['every'], after: Date): Date {
  if ('hours' in every) return new Date(after.getTime() + every.hours * hourMs);
  const [hours = 0, minutes = 0] = every.dailyAt.split(':').map(Number);
  const midnight = Date.UTC(after.getUTCFullYear(), after.getUTCMonth(), after.getUTCDate());
  const today = midnight + hours * hourMs + minutes * 60_000;
  return new Date(today > after.getTime() ? today : today + dayMs);
}

/**
 * The newest moment not after `now` at which it was due since `last`; undefined: it was not. Of several that were missed only the newest counts.
 * Without `last` a schedule of hours is due at once, and one of a time of day when that comes first after `createdAt`.
 */
export function dueSince(every: BackupScheduleSpec['every'], last: Date | undefined, createdAt: Date, now: Date): Date | undefined {
  if (last === undefined && 'hours' in every) return now;
  let due: Date | undefined;
  for (let next = nextDue(every, last ?? createdAt); next.getTime() <= now.getTime(); next = nextDue(every, next)) due = next;
  return due;
}
