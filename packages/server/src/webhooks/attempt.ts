import { Problem, toProblem } from '@virt8ra/contract';
import type { Egress } from '../outbound/egress.js';
import { type Line, type Outbound, readBody } from '../outbound/outbound.js';
import { signedHeaders } from './signature.js';

/** What is sent: at every attempt under the same id. */
export interface Message {
  readonly id: string;
  readonly body: string;
}

export interface Attempt {
  readonly at: Date;
  readonly delivered: boolean;
  /** HTTP status; undefined: none came. */
  readonly answer: number | undefined;
  readonly problem: string | undefined;
  readonly milliseconds: number;
  readonly retryAfterSeconds: number | undefined;
}

export interface Receiver {
  readonly url: URL;
  readonly line: Line;
  readonly secrets: readonly string[];
}

export interface AttemptOptions {
  readonly outbound: Outbound;
  readonly egress: Egress;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
  readonly now: () => Date;
}

/** What is read of an answer, so that its connection may be kept. None of it is shown: the receiver might be something else. */
const mostBytes = 64 * 1024;
/** However long a receiver asks to be left alone. */
const longestRetrySeconds = 6 * 3600;
const longestProblem = 300;

/** One POST. Never raises, but for the signal of the options. */
export async function attempt(message: Message, { url, line, secrets }: Receiver, options: AttemptOptions): Promise<Attempt> {
  const { outbound, egress, timeoutMs, signal, now } = options;
  const at = now();
  const begun = performance.now();
  const ended = (rest: Partial<Pick<Attempt, 'delivered' | 'answer' | 'problem' | 'retryAfterSeconds'>>): Attempt => ({
    delivered: false,
    answer: undefined,
    problem: undefined,
    retryAfterSeconds: undefined,
    ...rest,
    at,
    milliseconds: Math.round(performance.now() - begun),
  });
  const late = AbortSignal.timeout(timeoutMs);
  try {
    const response = await outbound.send(url, {
      method: 'POST',
      body: message.body,
      headers: {
        'content-type': 'application/json',
        'user-agent': 'virt8ra-webhooks',
        ...signedHeaders({ ...message, at: Math.floor(at.getTime() / 1000) }, secrets),
      },
      egress,
      line,
      silenceMs: timeoutMs,
      signal: AbortSignal.any([signal, late]),
    });
    const { statusCode: answer = 0, headers } = response;
    // What it says counts, whether or not the rest of it comes.
    await readBody(response, mostBytes).catch(() => response.destroy());
    if (answer >= 200 && answer < 300) return ended({ delivered: true, answer });
    const retryAfterSeconds = secondsFrom(headers['retry-after'], at);
    return ended({ answer, problem: refusal(answer), ...(retryAfterSeconds === undefined ? {} : { retryAfterSeconds }) });
  } catch (error) {
    signal.throwIfAborted();
    const text = late.aborted ? `no answer within ${timeoutMs / 1000} s` : (error instanceof Problem ? error : toProblem(error)).message;
    return ended({ problem: text.slice(0, longestProblem) });
  }
}

function refusal(answer: number): string {
  if (answer === 410) return 'the receiver answers 410: it wants no more';
  if (answer >= 300 && answer < 400) return `the receiver answers ${answer}; redirects are not followed: put the URL it leads to`;
  return `the receiver answers ${answer}`;
}

/** RFC 9110, 10.2.3: seconds or a date. */
function secondsFrom(header: string | undefined, now: Date): number | undefined {
  if (header === undefined) return undefined;
  const seconds = /^\d+$/.test(header.trim()) ? Number(header) : (Date.parse(header) - now.getTime()) / 1000;
  return Number.isFinite(seconds) && seconds > 0 ? Math.min(seconds, longestRetrySeconds) : undefined;
}
