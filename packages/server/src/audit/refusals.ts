import type { Problem } from '@virt8ra/contract';
import type { Log } from '@virt8ra/engine';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { problemOfRequest } from '../http/problem-reply.js';
import type { Store } from '../resources/store.js';

export interface RefusalOptions {
  readonly store: Store;
  readonly log: Log;
  /** Rows in a minute for one subject, and for all whose token was not accepted together. Default 60. */
  readonly perMinute?: number;
  readonly now?: () => number;
}

interface Budget {
  readonly since: number;
  written: number;
  left: number;
}

const minuteMs = 60_000;
const longestResource = 2000;

/**
 * Keeps refusals that say something: whoever was not allowed to do what they asked, and changes that were refused because of what stands.
 * Mistakes in a request are none of them. Who is refused all the time fills nothing: what is beyond a budget is counted, and told with the next.
 */
export function keepRefusals(app: FastifyInstance, { store, log, perMinute = 60, now = Date.now }: RefusalOptions): void {
  const budgets = new Map<string, Budget>();

  const admitted = (subject: string): { readonly unwritten: number } | undefined => {
    const at = now();
    for (const [name, { since }] of budgets) if (at - since >= minuteMs && name !== subject) budgets.delete(name);
    const held = budgets.get(subject);
    if (held === undefined || at - held.since >= minuteMs) {
      budgets.set(subject, { since: at, written: 1, left: 0 });
      return { unwritten: held?.left ?? 0 };
    }
    if (held.written >= perMinute) {
      held.left += 1;
      return undefined;
    }
    held.written += 1;
    return { unwritten: 0 };
  };

  app.addHook('onError', async (request, _reply, error) => {
    const problem = problemOfRequest(error);
    if (!isKept(problem, request)) return;
    const subject = request.subject?.name ?? '';
    const admission = admitted(subject);
    if (admission === undefined) return;
    const resource = (request.url.split('?', 1)[0] ?? '').replace(/^\/providers\//, '').slice(0, longestResource);
    const before = admission.unwritten === 0 ? '' : ` (${admission.unwritten} more were refused before and not written down)`;
    // The caller waits for no audit of a refusal: nothing has changed.
    store
      .transaction(async (tx) => {
        await tx.audit({
          subject,
          remote: request.subject?.remote ?? request.ip,
          verb: request.method.toLowerCase(),
          resource,
          code: problem.status,
          reason: `${problem.kind}: ${problem.message.slice(0, 1000)}${before}`,
        });
      })
      .catch((failure: unknown) => log.warn('a refusal could not be written down', { problem: problem.kind, error: String(failure) }));
  });
}

function isKept(problem: Problem, request: FastifyRequest): boolean {
  if (problem.kind === 'forbidden') return true;
  // Without any token it is a stranger who looks around, or a probe.
  if (problem.kind === 'unauthorized') return request.headers.authorization !== undefined;
  return request.method !== 'GET' && request.method !== 'HEAD' && (problem.kind === 'conflict' || problem.kind === 'exhausted');
}
