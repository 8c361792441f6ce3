import { randomUUID } from 'node:crypto';
import type { Duplex } from 'node:stream';
import { documentFromProblem, type Problem } from '@virt8ra/contract';

/** Answers a problem on a connection that no response belongs to (yet), and ends it. Answers the id of the request. */
export function writeRawProblem(socket: Duplex, problem: Problem, path?: string): string {
  const id = randomUUID();
  const body = JSON.stringify(documentFromProblem(problem, path));
  const headers = [
    `HTTP/1.1 ${problem.status} Refused`,
    'connection: close',
    'content-type: application/problem+json',
    `content-length: ${Buffer.byteLength(body)}`,
    `x-request-id: ${id}`,
    ...(problem.retryAfterSeconds === undefined ? [] : [`retry-after: ${Math.ceil(problem.retryAfterSeconds)}`]),
    ...(problem.status === 401 ? ['www-authenticate: Bearer'] : []),
  ];
  if (!socket.destroyed) socket.end(`${headers.join('\r\n')}\r\n\r\n${body}`);
  return id;
}
