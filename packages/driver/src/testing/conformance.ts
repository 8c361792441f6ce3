import type { FacetName } from '../driver.js';
import { objectRules } from './object-rules.js';
import { connectionRules, outageRules } from './outage-rules.js';
import { claim, type FacetTrial, type Rule, RuleBroken } from './rule.js';
import type { ConformanceWorld, FacetCase } from './world.js';

/** Every rule that a driver must keep, in the order of numbers. */
export const conformanceRules: readonly Rule[] = [...objectRules, ...outageRules, ...connectionRules];

/** A rule, or a rule for one facet, that the driver does not keep, and the reason. Shown in the support matrix. */
export type Gaps = Partial<Readonly<Record<`D${number}` | `D${number}/${FacetName}`, string>>>;

/** The test runner, handed in so that this package needs none. Vitest's functions fit. */
export interface TestRunner {
  describe(title: string, body: () => void): unknown;
  it: {
    (title: string, body: () => Promise<void>, timeoutMs?: number): unknown;
    skip(title: string): unknown;
  };
  beforeAll(body: () => Promise<void>): unknown;
  afterAll(body: () => Promise<void>): unknown;
}

export interface ConformanceOptions {
  readonly gaps?: Gaps;
  /** Facets to hold to the rules; every one must have a case in the world. */
  readonly facets: readonly FacetName[];
  readonly runner: TestRunner;
  /** Per rule. Default: 60000. */
  readonly timeoutMs?: number;
}

/**
 * Registers the rules as tests over one world, opened once. A gap becomes a skipped test that prints its reason; one without a reason, or
 * for a rule that does not exist, is a failed test.
 */
export function conformance(name: string, open: () => Promise<ConformanceWorld>, options: ConformanceOptions): void {
  const { runner, facets, gaps = {}, timeoutMs = 60_000 } = options;
  const { describe, it, beforeAll, afterAll } = runner;
  describe(`driver ${name}`, () => {
    let world: ConformanceWorld | undefined;
    const opened = (): ConformanceWorld => {
      if (world === undefined) throw new RuleBroken('the world did not open');
      return world;
    };
    beforeAll(async () => {
      world = await open();
    });
    afterAll(async () => await world?.close());
    it('names gaps for rules that exist, each with a reason', async () => checkGaps(gaps, facets));
    for (const rule of conformanceRules) {
      for (const facet of rule.scope === 'facet' ? facets : [undefined]) {
        const title = facet === undefined ? `${rule.id} ${rule.title}` : `${rule.id} ${rule.title} (${facet})`;
        const gap = gapOf(gaps, rule, facet);
        if (gap === undefined) it(title, async () => await checkRule(rule, opened(), facet), timeoutMs);
        else it.skip(`${title}: ${gap}`);
      }
    }
  });
}

export interface RuleResult {
  readonly id: Rule['id'];
  readonly facet: FacetName | undefined;
  /** Undefined: the rule is kept. */
  readonly broken: string | undefined;
}

/** The same without a test runner: every rule for every case of the world. */
export async function checkConformance(world: ConformanceWorld, rules: readonly Rule[] = conformanceRules): Promise<readonly RuleResult[]> {
  const results: RuleResult[] = [];
  for (const rule of rules) {
    for (const facet of rule.scope === 'facet' ? world.cases.map((of) => of.facet) : [undefined]) {
      const broken = await checkRule(rule, world, facet).then(
        () => undefined,
        (error: unknown) => (error instanceof Error ? error.message : String(error)),
      );
      results.push({ id: rule.id, facet, broken });
    }
  }
  return results;
}

async function checkRule(rule: Rule, world: ConformanceWorld, facet: FacetName | undefined): Promise<void> {
  if (rule.scope === 'connection') return await rule.check(world);
  const of = world.cases.find((candidate) => candidate.facet === facet);
  if (of === undefined) throw new RuleBroken(`the world has no case for the facet ${facet}`);
  await rule.check(trialOf(world, of));
}

function trialOf(world: ConformanceWorld, of: FacetCase): FacetTrial {
  const facet = of.open(world.connection);
  if (facet === undefined) throw new RuleBroken(`the connection has no facet ${of.facet}`);
  return {
    world,
    of,
    facet,
    key: () => `conf-${globalThis.crypto.randomUUID()}`,
    async eventually(what, found) {
      const patienceMs = (world.patienceSeconds ?? 10) * 1000;
      const deadline = performance.now() + patienceMs;
      for (let pauseMs = 2; ; pauseMs = Math.min(pauseMs * 2, 100)) {
        const answer = await found();
        if (answer !== undefined && answer !== false) return answer;
        claim(performance.now() < deadline, `this must come true within ${patienceMs} ms: ${what}`);
        await new Promise<void>((resolve) => setTimeout(resolve, pauseMs));
      }
    },
  };
}

function gapOf(gaps: Gaps, rule: Rule, facet: FacetName | undefined): string | undefined {
  return (facet === undefined ? undefined : gaps[`${rule.id}/${facet}`]) ?? gaps[rule.id];
}

function checkGaps(gaps: Gaps, facets: readonly FacetName[]): void {
  for (const [name, reason] of Object.entries(gaps)) {
    const [id, facet] = name.split('/');
    claim(
      conformanceRules.some((rule) => rule.id === id),
      `there is no rule ${id}`,
    );
    claim(facet === undefined || facets.some((known) => known === facet), `gap ${name} is for a facet that is not checked`);
    claim(reason !== undefined && reason.trim().length >= 10, `gap ${name} needs a reason`);
  }
}
