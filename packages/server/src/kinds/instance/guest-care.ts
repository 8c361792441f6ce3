import { type DesiredRestart, defaultRestart, longestStopSeconds, Problem, restartPolicies } from '@virt8ra/contract';

/** How a host looks after the guest, as far as its owner says so. */
export interface GuestCare {
  readonly restart?: DesiredRestart;
  readonly stopSeconds?: number;
}

const limitsMost = 10;

/**
 * The extensions `virt8ra.restart` (`always`, `on-failure` or `never`, and `:N` for the limit) and `virt8ra.stop-seconds`. Raises
 * `validation` for what they are not.
 */
export function guestCare(extensions: Readonly<Record<string, string>> | undefined): GuestCare {
  const restart = extensions?.['virt8ra.restart'];
  const stop = extensions?.['virt8ra.stop-seconds'];
  return {
    ...(restart === undefined ? {} : { restart: restartFrom(restart) }),
    ...(stop === undefined ? {} : { stopSeconds: secondsFrom(stop) }),
  };
}

function restartFrom(text: string): DesiredRestart {
  const [, word, count] = /^([a-z-]+)(?::(\d{1,2}))?$/.exec(text.trim()) ?? [];
  const policy = restartPolicies.find((known) => known === word);
  const limit = count === undefined ? defaultRestart.limit : Number(count);
  if (policy !== undefined && limit >= 1 && limit <= limitsMost && !(policy === 'never' && count !== undefined)) return { policy, limit };
  throw new Problem(
    'validation',
    `virt8ra.restart is always, on-failure or never; the first two may name how often within ten minutes, such as on-failure:3, at most ${limitsMost}`,
    { sources: [{ pointer: '/extensions/virt8ra.restart' }] },
  );
}

function secondsFrom(text: string): number {
  const seconds = Number(text);
  if (/^\d+$/.test(text) && seconds <= longestStopSeconds) return seconds;
  throw new Problem('validation', `virt8ra.stop-seconds is a whole number of at most ${longestStopSeconds}; 0 switches off at once`, {
    sources: [{ pointer: '/extensions/virt8ra.stop-seconds' }],
  });
}
