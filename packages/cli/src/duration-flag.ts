import { Problem } from '@virt8ra/contract';
import { secondsFromText } from './output/units.js';

/** Seconds of a flag such as `--timeout 5m`; undefined when it is absent. Raises `invalid-request` when it is no duration. */
export function secondsOfFlag(flag: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const seconds = secondsFromText(text);
  if (seconds === undefined || seconds <= 0)
    throw new Problem('invalid-request', `${flag} ${text}: write a duration such as 90s, 5m or 1h`);
  return seconds;
}

/** A whole number of a flag, at least 1. */
export function countOfFlag(flag: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const count = Number(text);
  if (!Number.isInteger(count) || count < 1) throw new Problem('invalid-request', `${flag} ${text}: write a whole number from 1`);
  return count;
}
