import { type Condition, documentFromProblem, type Problem, type ProblemDocument, type ProblemKind, problemTable } from '@virt8ra/contract';

import type { PutPolicy } from './put-resource.js';

/**
 * How the API answers where SECA's specification and its conformance suite differ. `standard` is the specification's way; `conformance` is
 * what the suite expects, for runs of it and nothing else. docs/seca.md lists every difference.
 */
export type ApiProfile = 'standard' | 'conformance';

/** What the suite takes for a failed precondition, whatever the reason. */
const refusals: ReadonlySet<ProblemKind> = new Set(['validation', 'unsupported', 'conflict', 'exhausted']);

/** A PUT below a parent that is not there is refused; a GET, DELETE or action of what is not there is not found. */
function isRefusal(problem: Problem, method: string): boolean {
  if (method === 'GET' || method === 'HEAD') return false;
  return refusals.has(problem.kind) || (method === 'PUT' && problem.kind === 'not-found');
}

/** The suite counts a PUT that changes nothing as a change, and changes what the specification's rules call immutable. */
export function putPolicyIn(profile: ApiProfile): PutPolicy {
  if (profile === 'standard') return { countsRepeats: false, mutable: [] };
  return { countsRepeats: true, mutable: ['network /skuRef', 'instance /zone'] };
}

export function statusIn(profile: ApiProfile, problem: Problem, method: string): number {
  return profile === 'conformance' && isRefusal(problem, method) ? problemTable['precondition-failed'].status : problem.status;
}

/** `code` stays the problem's own, so that nothing is hidden. */
export function documentIn(profile: ApiProfile, problem: Problem, method: string, instance: string): ProblemDocument {
  const document = documentFromProblem(problem, instance);
  if (profile === 'standard' || !isRefusal(problem, method)) return document;
  const { status, secaType, title } = problemTable['precondition-failed'];
  return { ...document, type: `http://secapi.cloud/errors/${secaType}`, title, status };
}

/**
 * Our history tells what happens inside a state too; the suite counts states. Of entries in a row with the same state the newest tells why,
 * and the oldest since when.
 */
export function conditionsIn(profile: ApiProfile, history: readonly Condition[]): readonly Condition[] {
  if (profile === 'standard') return history;
  const states: Condition[] = [];
  for (const condition of history) {
    const last = states.at(-1);
    if (last?.state === condition.state) states[states.length - 1] = { ...last, lastTransitionAt: condition.lastTransitionAt };
    else states.push(condition);
  }
  return states;
}
