import { Problem } from '@virt8ra/contract';
import type { FastifyRequest } from 'fastify';
import type { Subject } from '../kinds/behaviour.js';

declare module 'fastify' {
  interface FastifyRequest {
    /** Set before any handler of a route that is not open. */
    subject: Subject | undefined;
  }
  interface FastifyContextConfig {
    /** Answered without a token. */
    readonly open?: boolean;
  }
}

/** Raises `unauthorized`: a route that is not open never runs without a subject. */
export function subjectOf(request: FastifyRequest): Subject {
  if (request.subject === undefined) throw new Problem('unauthorized', 'this needs a token');
  return request.subject;
}
