import { createWindow, type StreamCarrier } from './carrier.js';
import { endedBecause, type StreamEnded, type StreamNote, streamFrameBytes } from './note.js';

/** What is used of a connection; a `net.Socket` that allows half-open ones fits. */
export interface OctetSocket {
  on(event: 'data', listener: (octets: Uint8Array) => void): unknown;
  on(event: 'end' | 'close', listener: () => void): unknown;
  on(event: 'error', listener: (error: Error) => void): unknown;
  write(octets: Uint8Array, written: () => void): unknown;
  end(): unknown;
  destroy(): unknown;
  pause(): unknown;
  resume(): unknown;
}

export interface JoinOptions {
  /** Notes other than `end`. */
  readonly onNote?: (note: StreamNote) => void;
  /** Called once. */
  readonly onEnd?: (ended: StreamEnded) => void;
}

/** Octets of the stream go into the connection and back, half-closes too, until both directions ended or either broke. It may come paused. */
export function joinOctets(carrier: StreamCarrier, socket: OctetSocket, { onNote, onEnd }: JoinOptions = {}): void {
  let over = false;
  let hereEnded = false;
  let thereEnded = false;
  let failure: string | undefined;
  const end = (ended: StreamEnded): void => {
    if (over) return;
    over = true;
    carrier.end(ended);
    onEnd?.(ended);
  };
  const endWhenBoth = (): void => {
    if (hereEnded && thereEnded) end(endedBecause('done', 'both directions ended'));
  };
  const inward = createWindow(carrier);
  const outward = createWindow(socket);
  carrier.listen({
    frame(frame) {
      if (!('type' in frame)) {
        if (!thereEnded) socket.write(frame, inward.add(frame.byteLength));
        return;
      }
      if (frame.type !== 'end') return onNote?.(frame);
      thereEnded = true;
      socket.end();
      endWhenBoth();
    },
    ended(ended) {
      if (ended.code === 'done') socket.end();
      else socket.destroy();
      end(ended);
    },
  });
  socket.on('data', (octets) => {
    for (let at = 0; at < octets.byteLength; at += streamFrameBytes) {
      const piece = octets.subarray(at, at + streamFrameBytes);
      carrier.send(piece, outward.add(piece.byteLength));
    }
  });
  socket.on('end', () => {
    hereEnded = true;
    carrier.send({ type: 'end' });
    endWhenBoth();
  });
  socket.on('error', (error) => {
    failure = error.message;
  });
  socket.on('close', () => {
    if (!hereEnded || !thereEnded) end(endedBecause('closed', failure ?? 'the connection was closed'));
  });
  socket.resume();
}
