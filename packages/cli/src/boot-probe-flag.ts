import { type BootProbe, Problem } from '@virt8ra/contract';
import { secondsFromText } from './output/units.js';

/** A boot probe of a flag: `isolation` or `place`, with a time limit as in `isolation:5m`. Raises `invalid-request` for anything else. */
export function bootProbeOfFlag(flag: string, text: string | undefined): BootProbe | undefined {
  if (text === undefined) return undefined;
  const [where, limit, ...rest] = text.split(':');
  const seconds = limit === undefined ? undefined : secondsFromText(limit);
  const fits = limit === undefined || (seconds !== undefined && seconds >= 1);
  if ((where !== 'isolation' && where !== 'place') || rest.length > 0 || !fits)
    throw new Problem('invalid-request', `${flag} ${text}: write isolation or place, or with a time limit isolation:5m`);
  return seconds === undefined ? { in: where } : { in: where, timeoutSeconds: Math.round(seconds) };
}
