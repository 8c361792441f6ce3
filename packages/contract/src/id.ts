/** Typed ids: prefix + ULID, sortable by time, distinct at compile time and at sight. This file is the registry of prefixes. */

export const idPrefixes = {
  resource: 'res',
  realization: 'rlz',
  run: 'run',
  audit: 'aud',
  claim: 'clm',
  token: 'tok',
  transfer: 'trf',
  server: 'srv',
} as const;

export type IdNoun = keyof typeof idPrefixes;

/** `Id<'run'>` looks like `run_01jabc…`: 26 lower-case Crockford base32 characters after the prefix. */
export type Id<Noun extends IdNoun> = `${(typeof idPrefixes)[Noun]}_${string}`;

/** Present in Node and browsers alike; declared here because this package sees neither's types. */
declare const crypto: { getRandomValues(array: Uint8Array): Uint8Array };

const alphabet = '0123456789abcdefghjkmnpqrstvwxyz';

/**
 * A new id. 48 bits of time, 80 bits of randomness, as the ULID specification says; lower case so that it may stand in host names,
 * file names and provider tags.
 */
export function newId<Noun extends IdNoun>(noun: Noun, now: number = Date.now()): Id<Noun> {
  let time = '';
  let rest = now;
  for (let position = 0; position < 10; position += 1) {
    time = `${alphabet[rest % 32] ?? '0'}${time}`;
    rest = Math.floor(rest / 32);
  }
  const random = crypto.getRandomValues(new Uint8Array(16));
  const suffix = Array.from(random, (byte) => alphabet[byte % 32] ?? '0').join('');
  return `${idPrefixes[noun]}_${time}${suffix}` as Id<Noun>;
}

export function isId<Noun extends IdNoun>(noun: Noun, text: string): text is Id<Noun> {
  return new RegExp(`^${idPrefixes[noun]}_[0-9a-hjkmnp-tv-z]{26}$`).test(text);
}
