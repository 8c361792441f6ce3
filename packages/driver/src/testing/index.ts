/** For tests only: the rules every driver keeps, numbered, as a suite. */
export {
  type ConformanceOptions,
  checkConformance,
  conformance,
  conformanceRules,
  type Gaps,
  type RuleResult,
  type TestRunner,
} from './conformance.js';
export type { Rule } from './rule.js';
export { type ConformanceWorld, type FacetCase, facetCase } from './world.js';
