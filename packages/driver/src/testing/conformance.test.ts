import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { checkConformance, conformance, conformanceRules, type TestRunner } from './conformance.js';
import { createMemoryWorld, type PlantedBug } from './memory-driver.js';

const runner: TestRunner = { describe, it, beforeAll, afterAll };

conformance('memory', async () => createMemoryWorld(), { facets: ['networks'], runner });

/** Every planted bug, and the rule that must catch it. */
const bugs: readonly { readonly bug: PlantedBug; readonly rule: string }[] = [
  { bug: 'key ignored', rule: 'D2' },
  { bug: 'key ignored at once', rule: 'D3' },
  { bug: 'complaining remove', rule: 'D11' },
  { bug: 'timeout reported as absent', rule: 'D16' },
  { bug: 'find denies during an outage', rule: 'D16' },
  { bug: 'lost list entries', rule: 'D13' },
  { bug: 'listed twice', rule: 'D13' },
  { bug: 'lost reply looks final', rule: 'D4' },
  { bug: 'asked time instead of seen time', rule: 'D17' },
  { bug: 'removal taken for done', rule: 'D18' },
  { bug: 'created before refused', rule: 'D15' },
  { bug: 'update creates anew', rule: 'D9' },
  { bug: 'foreign handles taken', rule: 'D20' },
  { bug: 'secret in an error', rule: 'D21' },
  { bug: 'handles of one connection only', rule: 'D8' },
  { bug: 'silent after close', rule: 'D23' },
  { bug: 'probe raises', rule: 'D22' },
  { bug: 'never present', rule: 'D7' },
  { bug: 'negative settle time', rule: 'D24' },
  { bug: 'one object for all keys', rule: 'D6' },
  { bug: 'find answers another handle', rule: 'D1' },
  { bug: 'find invents objects', rule: 'D5' },
  { bug: 'update brings back', rule: 'D10' },
  { bug: 'find remembers what is gone', rule: 'D12' },
  { bug: 'paged by offset', rule: 'D14' },
  { bug: 'seen in the future', rule: 'D19' },
];

describe('the conformance suite', () => {
  it.each(bugs)('catches "$bug" by $rule', async ({ bug, rule }) => {
    const chosen = conformanceRules.filter(({ id }) => id === rule);
    expect(chosen).toHaveLength(1);
    const [result] = await checkConformance(createMemoryWorld(bug), chosen);
    expect(result?.broken).toBeTypeOf('string');
  });

  it('numbers its rules without gaps or repetition', () => {
    expect(conformanceRules.map(({ id }) => id)).toEqual(conformanceRules.map((_, index) => `D${index + 1}`));
  });

  it('has a planted bug for every rule', () => {
    const proven = new Set(bugs.map(({ rule }) => rule));
    expect(conformanceRules.map(({ id }) => id).filter((id) => !proven.has(id))).toEqual([]);
  });

  it('skips a gap with its reason and refuses one without', async () => {
    const seen: { readonly title: string; readonly body?: () => Promise<void> }[] = [];
    const recorder: TestRunner = {
      describe: (_, body) => body(),
      it: Object.assign((title: string, body: () => Promise<void>) => void seen.push({ title, body }), {
        skip: (title: string) => void seen.push({ title }),
      }),
      beforeAll: () => undefined,
      afterAll: () => undefined,
    };
    conformance('gappy', async () => createMemoryWorld(), {
      facets: ['networks'],
      runner: recorder,
      gaps: { D4: 'the simulator never loses a reply', D14: '' },
    });
    expect(seen.find(({ title }) => title.startsWith('D4 '))).toMatchObject({
      title: expect.stringContaining('the simulator never loses a reply'),
    });
    expect(seen.find(({ title }) => title.startsWith('D4 '))?.body).toBeUndefined();
    await expect(seen[0]?.body?.()).rejects.toThrow('gap D14 needs a reason');
  });
});
