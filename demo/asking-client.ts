import { request } from 'node:http';

/** What the guest's page tells, as far as the demo reads it. */
export interface GuestPage {
  readonly bootId: string;
  readonly boots: number;
  readonly counter: number;
  readonly uptimeSeconds: number;
}

export interface Answer extends GuestPage {
  /** Milliseconds of `performance.now()` at which it was there. */
  readonly at: number;
}

/** A client that asks one address ten times a second and knows nothing of sites. */
export interface AskingClient {
  readonly url: string;
  /** All answers, oldest first. */
  readonly answers: readonly Answer[];
  /** The first answer after a moment; raises when none comes in time. */
  next(after: number, withinSeconds: number, signal: AbortSignal): Promise<Answer>;
  /** The longest time without an answer since a moment, in ms. */
  longestGap(since: number): number;
  /** How often the counter or the number of boots was seen smaller than before. */
  readonly stepsBack: number;
  stop(): void;
}

const everyMs = 100;
const patienceMs = 700;
/** For one that is spared. */
const longPatienceMs = 3_000;

/**
 * Begins to ask. One that was silent for `spareAfterMs` (10 s) may be too busy for all that is asked of it: until it answers it is asked one thing
 * at a time, and given longer.
 */
export function startAsking(url: string, { spareAfterMs = 10_000 } = {}): AskingClient {
  const answers: Answer[] = [];
  let stepsBack = 0;
  let stopped = false;
  let asked = 0;
  const begin = performance.now();
  // A question waits for no other, so that one that is lost says nothing of when the guest answers again.
  const round = async () => {
    // Answers may overtake each other; this question was asked when that one was known.
    const known = answers.at(-1);
    const isSpared = performance.now() - (known?.at ?? begin) > spareAfterMs;
    if (isSpared && asked > 0) return;
    asked += 1;
    const page = await ask(url, isSpared ? longPatienceMs : patienceMs).finally(() => {
      asked -= 1;
    });
    if (page === undefined || stopped) return;
    if (known !== undefined && (page.counter < known.counter || page.boots < known.boots)) stepsBack += 1;
    answers.push({ ...page, at: performance.now() });
  };
  const timer = setInterval(() => void round(), everyMs);
  void round();
  return {
    url,
    answers,
    async next(after, withinSeconds, signal) {
      const deadline = performance.now() + withinSeconds * 1000;
      for (;;) {
        signal.throwIfAborted();
        const last = answers.at(-1);
        if (last !== undefined && last.at > after) return answers.find((answer) => answer.at > after) ?? last;
        if (performance.now() > deadline) throw new Error(`${url} did not answer within ${withinSeconds} s`);
        await new Promise((resolve) => setTimeout(resolve, 25));
      }
    },
    longestGap(since) {
      const from = answers.findLastIndex((answer) => answer.at <= since);
      const times = answers.slice(Math.max(0, from)).map(({ at }) => at);
      return times.reduce((longest, at, index) => Math.max(longest, at - (times[index - 1] ?? at)), 0);
    },
    get stepsBack() {
      return stepsBack;
    },
    stop() {
      stopped = true;
      clearInterval(timer);
    },
  };
}

async function ask(url: string, patienceMs: number): Promise<GuestPage | undefined> {
  return await new Promise((resolve) => {
    const sent = request(`${url}/cgi-bin/info`, { agent: false, timeout: patienceMs }, (reply) => {
      let text = '';
      reply.setEncoding('utf8');
      reply.on('data', (part: string) => {
        text += part;
      });
      reply.on('error', () => resolve(undefined));
      reply.on('end', () => {
        try {
          const page = JSON.parse(text) as GuestPage;
          resolve(reply.statusCode === 200 && typeof page.counter === 'number' ? page : undefined);
        } catch {
          resolve(undefined);
        }
      });
    });
    // An address without a guest may be silent for minutes.
    const limit = setTimeout(() => sent.destroy(new Error('no answer')), patienceMs);
    sent.on('error', () => resolve(undefined));
    sent.on('close', () => {
      clearTimeout(limit);
      resolve(undefined);
    });
    sent.end();
  });
}
