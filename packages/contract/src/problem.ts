/**
 * The one table of things that go wrong. Every error that leaves a package is a `Problem`; nothing else is thrown on purpose.
 * `status` and `secaType` follow the SECA error model (RFC 7807 documents), `retry` tells engine and drivers what to do next,
 * `exitCode` is what the CLI ends with.
 */

/** What a caller may do after a problem: `never` repeat as is, repeat `later`, or `verify` first because the outcome is unknown. */
export type Retry = 'never' | 'later' | 'verify';

interface ProblemRow {
  readonly status: number;
  readonly secaType: string;
  readonly title: string;
  readonly retry: Retry;
  readonly exitCode: number;
}

export const problemTable = {
  'invalid-request': { status: 400, secaType: 'invalid-request', title: 'Invalid request', retry: 'never', exitCode: 2 },
  unauthorized: { status: 401, secaType: 'unauthorized', title: 'Unauthorized', retry: 'never', exitCode: 3 },
  forbidden: { status: 403, secaType: 'forbidden', title: 'Forbidden', retry: 'never', exitCode: 3 },
  'not-found': { status: 404, secaType: 'resource-not-found', title: 'Not found', retry: 'never', exitCode: 4 },
  conflict: { status: 409, secaType: 'resource-conflict', title: 'Conflict', retry: 'never', exitCode: 5 },
  'precondition-failed': { status: 412, secaType: 'precondition-failed', title: 'Precondition failed', retry: 'never', exitCode: 5 },
  'too-large': { status: 413, secaType: 'invalid-request', title: 'Too large', retry: 'never', exitCode: 2 },
  validation: { status: 422, secaType: 'validation-error', title: 'Validation failed', retry: 'never', exitCode: 2 },
  unsupported: { status: 422, secaType: 'validation-error', title: 'Not supported', retry: 'never', exitCode: 2 },
  exhausted: { status: 409, secaType: 'resource-conflict', title: 'Capacity exhausted', retry: 'later', exitCode: 6 },
  cancelled: { status: 409, secaType: 'resource-conflict', title: 'Cancelled', retry: 'never', exitCode: 7 },
  throttled: { status: 429, secaType: 'internal-server-error', title: 'Too many requests', retry: 'later', exitCode: 8 },
  internal: { status: 500, secaType: 'internal-server-error', title: 'Internal error', retry: 'never', exitCode: 1 },
  unavailable: { status: 503, secaType: 'internal-server-error', title: 'Unavailable', retry: 'later', exitCode: 8 },
  'unknown-outcome': { status: 503, secaType: 'internal-server-error', title: 'Outcome unknown', retry: 'verify', exitCode: 8 },
} as const satisfies Record<string, ProblemRow>;

export type ProblemKind = keyof typeof problemTable;

export const problemKinds = Object.keys(problemTable) as readonly ProblemKind[];

/** Where in the request the fault lies: a JSON pointer into the body, or the name of a path, query or header parameter. */
export interface ProblemSource {
  readonly pointer?: string;
  readonly parameter?: string;
}

export interface ProblemOptions {
  readonly sources?: readonly ProblemSource[];
  /** For the log and for `meta`; never secrets. */
  readonly facts?: Readonly<Record<string, unknown>>;
  /** Seconds after which a retry makes sense; becomes Retry-After. */
  readonly retryAfterSeconds?: number;
  readonly cause?: unknown;
}

/** An error with a kind from the table. The message is for the caller: what was tried, what is wrong, how to mend it. */
export class Problem extends Error {
  override readonly name = 'Problem';
  readonly kind: ProblemKind;
  readonly sources: readonly ProblemSource[];
  readonly facts: Readonly<Record<string, unknown>>;
  readonly retryAfterSeconds: number | undefined;

  constructor(kind: ProblemKind, message: string, options: ProblemOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.kind = kind;
    this.sources = options.sources ?? [];
    this.facts = options.facts ?? {};
    this.retryAfterSeconds = options.retryAfterSeconds;
  }

  get status(): number {
    return problemTable[this.kind].status;
  }

  get retry(): Retry {
    return problemTable[this.kind].retry;
  }

  get exitCode(): number {
    return problemTable[this.kind].exitCode;
  }
}

/** RFC 7807 document as SECA shapes it; `code` is our kind, so that clients need not parse `type`. */
export interface ProblemDocument {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly detail: string;
  readonly instance?: string;
  readonly code: ProblemKind;
  readonly sources: readonly ProblemSource[];
  readonly meta?: Readonly<Record<string, unknown>>;
}

export function documentFromProblem(problem: Problem, instance?: string): ProblemDocument {
  const row = problemTable[problem.kind];
  return {
    type: `http://secapi.cloud/errors/${row.secaType}`,
    title: row.title,
    status: row.status,
    detail: problem.message,
    ...(instance === undefined ? {} : { instance }),
    code: problem.kind,
    sources: problem.sources,
    ...(Object.keys(problem.facts).length === 0 ? {} : { meta: problem.facts }),
  };
}

/** The reverse, for clients. An unknown or foreign document becomes the nearest kind by its HTTP status. */
export function problemFromDocument(document: unknown, status: number): Problem {
  const fields = typeof document === 'object' && document !== null ? (document as Record<string, unknown>) : {};
  const code = fields['code'];
  const kind = problemKinds.find((candidate) => candidate === code) ?? kindFromStatus(status);
  const detail = typeof fields['detail'] === 'string' ? fields['detail'] : `the server answered ${status}`;
  const sources = Array.isArray(fields['sources']) ? (fields['sources'] as ProblemSource[]) : [];
  const meta = fields['meta'];
  return new Problem(kind, detail, {
    sources,
    ...(typeof meta === 'object' && meta !== null ? { facts: meta as Record<string, unknown> } : {}),
  });
}

function kindFromStatus(status: number): ProblemKind {
  const exact = problemKinds.find((kind) => problemTable[kind].status === status);
  if (exact !== undefined) return exact;
  return status >= 500 ? 'internal' : 'invalid-request';
}

/** Any thrown value as a Problem: a Problem stays itself, anything else is `internal` with its cause kept. */
export function toProblem(thrown: unknown): Problem {
  if (thrown instanceof Problem) return thrown;
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  return new Problem('internal', message, { cause: thrown });
}
