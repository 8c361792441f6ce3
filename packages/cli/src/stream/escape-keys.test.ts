import { expect, it } from 'vitest';
import { createEscapeKeys } from './escape-keys.js';

it.each([
  ['~.', '', ['end']],
  ['ls\r~.', 'ls\r', ['end']],
  ['ls~.', 'ls~.', []],
  ['~~.', '~.', []],
  ['~?~.', '', ['help', 'end']],
  ['~x~.', '~x~.', []],
  ['\n~a\n~.', '\n~a\n', ['end']],
  ['~\r~.', '~\r', ['end']],
])('%j means %j for the guest and %j for us, in one piece and key by key', (keys, octets, asked) => {
  const whole = createEscapeKeys()(Buffer.from(keys));
  expect([Buffer.from(whole.octets).toString(), whole.asked]).toEqual([octets, asked]);
  const escaped = createEscapeKeys();
  const pieces = [...Buffer.from(keys)].map((key) => escaped(Uint8Array.of(key)));
  expect(Buffer.concat(pieces.map((piece) => piece.octets)).toString()).toBe(octets);
  expect(pieces.flatMap((piece) => piece.asked)).toEqual(asked);
});
