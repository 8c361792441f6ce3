import { setImmediate } from 'node:timers';

/** Reads for many who ask, in their order. */
export type ReadMany<Ask, Answer> = (asks: readonly Ask[]) => Promise<readonly Answer[]>;

/** How single questions become reads. */
export type Asking = <Ask, Answer>(read: ReadMany<Ask, Answer>) => (ask: Ask) => Promise<Answer>;

/** Questions of one read. */
const most = 1000;

/**
 * What is asked in one turn of the event loop is read together at its end: under load one statement answers many requests, and a lone one waits
 * for nothing. Nothing is kept: every answer was read after its question.
 */
export function askedTogether<Ask, Answer>(read: ReadMany<Ask, Answer>): (ask: Ask) => Promise<Answer> {
  interface Waiting {
    readonly ask: Ask;
    resolve(answer: Answer): void;
    reject(error: unknown): void;
  }
  let waiting: Waiting[] = [];

  async function answer(asked: readonly Waiting[]): Promise<void> {
    try {
      const answers = await read(asked.map(({ ask }) => ask));
      for (const [index, { resolve }] of asked.entries()) resolve(answers[index] as Answer);
    } catch (error) {
      for (const { reject } of asked) reject(error);
    }
  }

  function readAll(): void {
    const asked = waiting;
    waiting = [];
    for (let from = 0; from < asked.length; from += most) void answer(asked.slice(from, from + most));
  }

  return async (ask) =>
    await new Promise((resolve, reject) => {
      if (waiting.length === 0) setImmediate(readAll);
      waiting.push({ ask, resolve, reject });
    });
}

/** Each question is read at once: inside a transaction its place among the statements matters. */
export function askedAlone<Ask, Answer>(read: ReadMany<Ask, Answer>): (ask: Ask) => Promise<Answer> {
  return async (ask) => {
    const [answer] = await read([ask]);
    return answer as Answer;
  };
}
