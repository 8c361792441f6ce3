import { Problem } from '@virt8ra/contract';
import type { Log } from '@virt8ra/engine';
import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify';
import { problemOf } from '../database/database-problem.js';
import { type ApiProfile, documentIn, statusIn } from './profile.js';

/** Answers a problem document. What was not foreseen is told to the log with its cause, and to the caller by the request's id only. */
export function replyProblem(log: Log, thrown: unknown, request: FastifyRequest, reply: FastifyReply, profile: ApiProfile): void {
  const problem = problemOfRequest(thrown);
  const facts = { request: request.id, method: request.method, route: request.routeOptions.url, problem: problem.kind };
  if (problem.status === 500)
    log.error('a request failed', { ...facts, error: thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown) });
  else if (problem.status > 500) log.warn('a request could not be served', { ...facts, reason: problem.message });
  else log.debug('a request was refused', { ...facts, reason: problem.message });
  void reply.header('x-request-id', request.id);
  if (problem.retryAfterSeconds !== undefined) void reply.header('retry-after', String(Math.ceil(problem.retryAfterSeconds)));
  if (problem.status === 401) void reply.header('www-authenticate', 'Bearer');
  const instance = request.url.split('?', 1)[0] ?? request.url;
  void reply
    .code(statusIn(profile, problem, request.method))
    .type('application/problem+json')
    .send(JSON.stringify(documentIn(profile, problem, request.method, instance)));
}

export function notJson(cause?: unknown): Problem {
  return new Problem('invalid-request', 'the body must be sent as application/json', {
    sources: [{ parameter: 'content-type' }],
    ...(cause === undefined ? {} : { cause }),
  });
}

/** What a caller is told of something thrown. */
export function problemOfRequest(thrown: unknown): Problem {
  if (thrown instanceof Problem) return thrown;
  const code = typeof thrown === 'object' && thrown !== null && 'code' in thrown ? String(thrown.code) : '';
  switch (code) {
    case 'FST_ERR_CTP_BODY_TOO_LARGE':
      return new Problem('too-large', 'the body is larger than 1 MiB', { cause: thrown });
    case 'FST_ERR_CTP_INVALID_MEDIA_TYPE':
    case 'FST_ERR_CTP_EMPTY_TYPE':
      return notJson(thrown);
    case 'FST_ERR_BAD_URL':
      return new Problem('invalid-request', 'the path is not a legal URL path', { cause: thrown });
  }
  // The framework's own refusals have a status below 500; their messages are meant for callers.
  const status = (thrown as Partial<FastifyError> | null)?.statusCode;
  if (code.startsWith('FST_') && status !== undefined && status < 500)
    return new Problem('invalid-request', (thrown as Error).message, { cause: thrown });
  const problem = problemOf(thrown);
  if (problem.kind !== 'internal') return problem;
  return new Problem('internal', 'the control plane failed at this; its log tells why, under the id of this request', { cause: thrown });
}
