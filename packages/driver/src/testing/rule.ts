import { Problem } from '@virt8ra/contract';
import type { Facet, Handle, Observation } from '../observation.js';
import type { ConformanceWorld, FacetCase } from './world.js';

/** One numbered rule. Numbers are never reused. */
export interface FacetRule {
  readonly id: `D${number}`;
  readonly title: string;
  readonly scope: 'facet';
  check(trial: FacetTrial): Promise<void>;
}
export interface ConnectionRule {
  readonly id: `D${number}`;
  readonly title: string;
  readonly scope: 'connection';
  check(world: ConformanceWorld): Promise<void>;
}
export type Rule = FacetRule | ConnectionRule;

/** What a rule about one facet works with. */
export interface FacetTrial {
  readonly world: ConformanceWorld;
  readonly of: FacetCase;
  readonly facet: Facet<unknown, unknown>;
  /** A key that nobody used before. */
  key(): string;
  /** Resolves when `found` answers something. */
  eventually<Found>(what: string, found: () => Promise<Found | undefined | false>): Promise<Found>;
}

/** Raised by a rule that is broken; the message says what was expected. */
export class RuleBroken extends Error {
  override readonly name = 'RuleBroken';
}

export function claim(holds: boolean, what: string): asserts holds {
  if (!holds) throw new RuleBroken(what);
}

/** The Problem that `call` raises. Breaks the rule when it raises none, or anything else. */
export async function problemOf(what: string, call: () => Promise<unknown>): Promise<Problem> {
  try {
    await call();
  } catch (thrown) {
    claim(thrown instanceof Problem, `${what} must raise a Problem, not ${String(thrown)}`);
    return thrown;
  }
  throw new RuleBroken(`${what} must raise a Problem`);
}

export async function listed(facet: Facet<unknown, unknown>): Promise<readonly { readonly handle: Handle; readonly key: string }[]> {
  const found: { readonly handle: Handle; readonly key: string }[] = [];
  for await (const entry of facet.list()) found.push(entry);
  return found;
}

export function sameHandle(a: Handle | undefined, b: Handle): boolean {
  return a !== undefined && a.driver === b.driver && a.version === b.version && a.value === b.value;
}

export async function present(trial: FacetTrial, handle: Handle): Promise<Observation<unknown>> {
  return await trial.eventually('an object becomes present by itself', async () => {
    const seen = await trial.facet.observe(handle);
    claim(seen.type !== 'absent', 'an object that was created and not removed must not be absent');
    claim(seen.type !== 'broken', 'an ordinary object must not be broken');
    return seen.type === 'present' ? seen : undefined;
  });
}

export async function absent(trial: FacetTrial, handle: Handle): Promise<void> {
  await trial.eventually('a removed object becomes absent', async () => (await trial.facet.observe(handle)).type === 'absent');
}

export async function removed(trial: FacetTrial, handle: Handle): Promise<void> {
  await trial.facet.remove(handle);
  await absent(trial, handle);
}
