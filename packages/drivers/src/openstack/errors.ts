import { maskSecrets, Problem, type ProblemKind } from '@virt8ra/contract';
import type { Answer } from '../_http/exchange.js';

/** An answer that is no success, as a Problem. `creates`: what was asked for may only be done once. */
export function problemFrom(
  answer: Answer & { readonly text: string },
  service: string,
  { creates }: { readonly creates: boolean },
): Problem {
  const { status, requestId, exchange, text } = answer;
  const told = messageIn(text);
  const message = `${service} answered ${status}${told === undefined ? '' : `: ${maskSecrets(told)}`}`;
  const facts = { exchange, ...(requestId === undefined ? {} : { requestId }) };
  const of = (kind: ProblemKind, retryAfterSeconds?: number): Problem =>
    new Problem(kind, message, { facts, ...(retryAfterSeconds === undefined ? {} : { retryAfterSeconds }) });
  if (status >= 500) return creates ? of('unknown-outcome') : of('unavailable', 5);
  if (/quota|overlimit|limit exceeded/i.test(told ?? '') && [400, 403, 409, 413].includes(status)) return of('exhausted', 60);
  switch (status) {
    case 401:
      return new Problem('unavailable', `${message}; the credentials of the account are not taken (any more)`, {
        facts,
        retryAfterSeconds: 60,
      });
    case 403:
      return new Problem('unavailable', `${message}; the credentials of the account may not do this`, { facts, retryAfterSeconds: 60 });
    case 404:
      return of('not-found');
    case 409:
      return of('conflict');
    case 413:
      return of('exhausted', 60);
    default:
      return of('validation');
  }
}

/** Every service wraps its words in another way; some answer HTML. */
export function messageIn(text: string): string | undefined {
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch {
    const plain = text
      .replaceAll(/<title>[\s\S]*?<\/title>|<[^>]*>/g, ' ')
      .replaceAll(/\s+/g, ' ')
      .trim();
    return plain === '' ? undefined : plain.slice(0, 500);
  }
  return deepMessage(body)?.slice(0, 500);
}

function deepMessage(body: unknown, depth = 0): string | undefined {
  if (typeof body === 'string') return body;
  if (typeof body !== 'object' || body === null || depth > 3) return undefined;
  const fields = body as Record<string, unknown>;
  if (typeof fields['message'] === 'string') return fields['message'];
  for (const value of Object.values(fields)) {
    const found = typeof value === 'object' ? deepMessage(value, depth + 1) : undefined;
    if (found !== undefined) return found;
  }
  return typeof fields['NeutronError'] === 'string' ? fields['NeutronError'] : undefined;
}
