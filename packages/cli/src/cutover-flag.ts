import { type Cutover, Problem } from '@virt8ra/contract';
import { secondsFromText } from './output/units.js';

/**
 * When to cut over, of a flag: `asked`, `FROM/UNTIL` (RFC 3339) or `below:300ms`; undefined for `now` and when it is absent. Raises
 * `invalid-request` for anything else.
 */
export function cutoverOfFlag(flag: string, text: string | undefined): Cutover | undefined {
  if (text === undefined || text === 'now') return undefined;
  if (text === 'asked') return { when: 'asked' };
  if (text.startsWith('below:')) {
    const milliseconds = millisecondsFromText(text.slice('below:'.length));
    if (milliseconds !== undefined) return { when: 'pause-below', milliseconds };
  }
  const [from, until, ...rest] = text.split('/');
  if (from !== undefined && until !== undefined && rest.length === 0 && isTime(from) && isTime(until))
    return { when: 'window', from: new Date(from).toISOString(), until: new Date(until).toISOString() };
  throw new Problem(
    'invalid-request',
    `${flag} ${text}: write asked, now, a window such as 2030-01-31T22:00Z/2030-02-01T04:00Z, or below:300ms`,
  );
}

function millisecondsFromText(text: string): number | undefined {
  const match = /^(\d+)ms$/.exec(text);
  const milliseconds = match === null ? (secondsFromText(text) ?? 0) * 1000 : Number(match[1]);
  return milliseconds >= 1 ? Math.round(milliseconds) : undefined;
}

function isTime(text: string): boolean {
  return /^\d{4}-\d{2}-\d{2}T/.test(text) && Number.isFinite(Date.parse(text));
}
