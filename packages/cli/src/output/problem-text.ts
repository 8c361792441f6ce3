import type { Problem } from '@virt8ra/contract';
import { plain } from './table.js';

/** What was being worked with, for hints. */
export interface ProblemSurroundings {
  readonly contextName?: string | undefined;
  readonly server?: string | undefined;
}

/** Several lines for people: what is wrong, where, and how to mend it. */
export function problemText(problem: Problem, surroundings: ProblemSurroundings = {}): string {
  const [first = '', ...more] = problem.message.split('\n');
  const lines = [`error: ${plain(first)}`, ...more.map((line) => `  ${plain(line)}`)];
  for (const source of problem.sources) {
    const place = source.pointer ?? (source.parameter === undefined ? undefined : `parameter ${source.parameter}`);
    if (place !== undefined) lines.push(`  at ${plain(place === '' ? '/' : place)}`);
  }
  const hint = hintOf(problem, surroundings);
  if (hint !== undefined) lines.push(`hint: ${hint}`);
  return `${lines.join('\n')}\n`;
}

function hintOf(problem: Problem, { contextName, server }: ProblemSurroundings): string | undefined {
  const own = problem.facts['hint'];
  if (typeof own === 'string') return own;
  const from = contextName === undefined ? 'VIRT8RA_SERVER' : `context ${contextName}`;
  switch (problem.facts['fault']) {
    case 'refused':
    case 'cut':
    case 'timeout':
      return `is the control plane running? Its URL comes from ${from}; "virt8ra context list" shows the others`;
    case 'unresolved':
      return `is the host name right? It comes from ${from}`;
    case 'untrusted':
      return 'give its certificate authority: virt8ra login --server URL --ca-file FILE';
    default:
  }
  switch (problem.kind) {
    case 'unauthorized':
      return `run "virt8ra login --server ${server ?? 'URL'}"${contextName === undefined ? ' or set VIRT8RA_TOKEN' : ''}`;
    case 'forbidden':
      return `the token of ${contextName === undefined ? 'VIRT8RA_TOKEN' : from} may not do this; "virt8ra context show" tells tenant and workspace in use`;
    case 'not-found':
      return problem.sources.length === 0 ? '"virt8ra get KIND" lists what exists; check --tenant and --workspace' : undefined;
    case 'precondition-failed':
      return 'it was changed meanwhile; read it again with "virt8ra get" and repeat';
    case 'exhausted':
      return '"virt8ra sites" shows what is free where';
    case 'unknown-outcome':
      return 'look with "virt8ra get" before you repeat it';
    case 'throttled':
    case 'unavailable':
      return problem.retryAfterSeconds === undefined ? undefined : `try again in ${problem.retryAfterSeconds} s`;
    default:
      return undefined;
  }
}
