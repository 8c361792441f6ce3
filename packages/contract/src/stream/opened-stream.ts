import { Problem, problemKinds } from '../problem.js';
import type { StreamCarrier, StreamFrame } from './carrier.js';
import type { StreamEnded, StreamNoteOf } from './note.js';

/** A stream whose far end has said that it is there. */
export interface OpenedStream {
  /** Brings what comes after `opened`. */
  readonly carrier: StreamCarrier;
  /** What the far end said first. */
  readonly opened: StreamNoteOf<'opened'>;
}

/**
 * Waits for the first word of a far end. What comes behind it is kept for whoever listens to the answer. `onEnd` is called once, whenever it
 * is over. Raises what the far end refuses it with, `unavailable` when it leaves or says something else.
 */
export async function openedStream(carrier: StreamCarrier, onEnd: () => void = () => {}): Promise<OpenedStream> {
  const early: StreamFrame[] = [];
  let listener: Parameters<StreamCarrier['listen']>[0] | undefined;
  let over: StreamEnded | undefined;
  const first = await new Promise<StreamFrame>((resolve, reject) => {
    let heard = false;
    carrier.listen({
      frame(frame) {
        if (heard) {
          if (listener === undefined) early.push(frame);
          else listener.frame(frame);
          return;
        }
        heard = true;
        // Until somebody listens, the far end waits.
        carrier.pause();
        resolve(frame);
      },
      ended(ended) {
        over = ended;
        onEnd();
        listener?.ended(ended);
        reject(new Problem('unavailable', `the stream ended before it began: ${ended.message}`, { retryAfterSeconds: 1 }));
      },
    });
  });
  if (!('type' in first) || first.type !== 'opened') {
    carrier.end({ type: 'ended', code: 'closed', message: 'it was not opened' });
    if ('type' in first && first.type === 'refused') {
      const kind = problemKinds.find((each) => each === first.code);
      throw new Problem(kind === undefined || kind === 'internal' ? 'unavailable' : kind, first.message);
    }
    throw new Problem('unavailable', 'the far end did not say that the stream is open');
  }
  return {
    opened: first,
    carrier: {
      ...carrier,
      listen(on) {
        listener = on;
        for (const frame of early.splice(0)) on.frame(frame);
        if (over === undefined) carrier.resume();
        else on.ended(over);
      },
    },
  };
}
