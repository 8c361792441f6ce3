import { Problem, toProblem } from '@virt8ra/contract';
import type { OpenAnswer } from './exchange.js';

/** Bytes from `start` on: the answer's body begins there. */
export type OpenRange = (start: number) => Promise<OpenAnswer>;

/** Breaks in a row, without a byte between them, after which it is given up. */
const mostBreaks = 5;

/**
 * The bytes of something that does not change, from `start` to its end, however often the connection breaks: it goes on where it broke off. As
 * long as bytes come there is no limit in time. Raises `unavailable` when none come, `conflict` when it has another length than `bytes`.
 */
export async function* resumable(
  open: OpenRange,
  { start, bytes }: { readonly start: number; readonly bytes: number },
): AsyncGenerator<Buffer> {
  let position = start;
  let breaks = 0;
  while (position < bytes) {
    const from = position;
    try {
      const { body } = await open(position);
      for await (const piece of body as AsyncIterable<Buffer>) {
        if (position + piece.length > bytes) throw new Problem('conflict', `more than the ${bytes} bytes came that there are`);
        position += piece.length;
        yield piece;
      }
      if (position < bytes) throw new Problem('unavailable', `the content ended at byte ${position} of ${bytes}`);
    } catch (thrown) {
      const problem = toProblem(thrown);
      // What is not a Problem is the connection's: reading broke off.
      if (thrown instanceof Problem && problem.retry === 'never') throw problem;
      breaks = position > from ? 1 : breaks + 1;
      if (breaks >= mostBreaks)
        throw new Problem('unavailable', `no byte came after ${position} of ${bytes}: ${problem.message}`, { cause: problem });
    }
  }
}
