import { describe, expect, it } from 'vitest';
import { asJson } from './json.js';

describe('asJson', () => {
  it('answers what the journal will give back', () => {
    const value = { text: 'nul \u0000', list: [1, -0.5, null, true], nested: { absent: undefined, empty: {} } };

    expect(asJson(value, 'value')).toStrictEqual({ text: 'nul \u0000', list: [1, -0.5, null, true], nested: { empty: {} } });
  });

  it.each<{ readonly title: string; readonly value: unknown; readonly place: string }>([
    { title: 'a date', value: { at: [new Date(0)] }, place: 'result.at[0]' },
    { title: 'a map', value: new Map(), place: 'result' },
    { title: 'not a number', value: [1, Number.NaN], place: 'result[1]' },
    { title: 'a bigint', value: { size: 1n }, place: 'result.size' },
    { title: 'a function', value: { call: () => 1 }, place: 'result.call' },
    {
      title: 'a circle',
      value: (() => {
        const circle: Record<string, unknown> = {};
        circle['self'] = circle;
        return circle;
      })(),
      place: 'result.self',
    },
  ])('refuses $title and names its place', ({ value, place }) => {
    expect(() => asJson(value, 'result')).toThrow(`${place} is not plain JSON`);
  });

  it('keeps "no value" apart from null', () => {
    expect(asJson(undefined, 'result')).toBeUndefined();
    expect(asJson(null, 'result')).toBeNull();
  });
});
