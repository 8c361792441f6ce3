import { createWindow, type StreamCarrier } from './carrier.js';
import { endedBecause, type StreamEnded, type StreamNote } from './note.js';

/** Octets from the near to the far end, and back. */
export interface StreamCounts {
  readonly forth: number;
  readonly back: number;
}

export interface RelayOptions {
  /** A near end says little: anything else ends the stream. */
  readonly nearMaySay: (note: StreamNote) => boolean;
  /** Called once. */
  readonly onEnd: (ended: StreamEnded, counts: StreamCounts) => void;
}

/** Joins a caller's carrier to that of the target until either ends; each is told why. Answers how to end it from outside. */
export function relayStreams(near: StreamCarrier, far: StreamCarrier, { nearMaySay, onEnd }: RelayOptions): (ended: StreamEnded) => void {
  let over = false;
  const counts = { forth: 0, back: 0 };
  const end = (ended: StreamEnded): void => {
    if (over) return;
    over = true;
    near.end(ended);
    far.end(ended);
    onEnd(ended, { ...counts });
  };
  const forth = createWindow(near);
  const back = createWindow(far);
  near.listen({
    frame(frame) {
      if ('type' in frame) {
        if (nearMaySay(frame)) far.send(frame, forth.add(noteCost));
        else end(endedBecause('protocol', `a caller may not say ${frame.type}`));
        return;
      }
      counts.forth += frame.byteLength;
      far.send(frame, forth.add(frame.byteLength));
    },
    // That its connection broke is for us what leaving is for the other side.
    ended: (ended) => end(ended.code === 'cut' ? endedBecause('closed', `the caller is gone: ${ended.message}`) : ended),
  });
  far.listen({
    frame(frame) {
      if ('type' in frame) return near.send(frame, back.add(noteCost));
      counts.back += frame.byteLength;
      near.send(frame, back.add(frame.byteLength));
    },
    ended: (ended) => end(ended.code === 'cut' ? endedBecause('cut', `the connection to the host broke: ${ended.message}`) : ended),
  });
  return end;
}

/** What a note counts for in a window. */
const noteCost = 256;
