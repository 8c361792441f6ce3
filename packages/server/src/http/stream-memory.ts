import type { ServerResponse } from 'node:http';

/** What waits in memory for clients that read slowly: bounded for each, and for all together, however many there are. */
export interface StreamMemory {
  /** Waiting now, in bytes. */
  readonly waitingBytes: number;
  /** Whether this one must not be given more: it has its own bound, or, where all have theirs together, more than its share. */
  isTooMuch(response: ServerResponse): boolean;
  write(response: ServerResponse, frame: Buffer): void;
}

export function createStreamMemory(eachBytes: number, totalBytes: number): StreamMemory {
  const waiting = new Map<ServerResponse, number>();
  let total = 0;

  const give = (response: ServerResponse, bytes: number): void => {
    const held = waiting.get(response);
    if (held === undefined) return;
    waiting.set(response, held - bytes);
    total -= bytes;
  };

  return {
    get waitingBytes() {
      return total;
    },
    isTooMuch(response) {
      const held = waiting.get(response) ?? 0;
      return held > eachBytes || (total > totalBytes && held >= totalBytes / waiting.size);
    },
    write(response, frame) {
      const bytes = frame.length;
      if (!waiting.has(response)) {
        waiting.set(response, 0);
        // What it held goes with it, whether it was told of each or not.
        response.once('close', () => {
          total -= waiting.get(response) ?? 0;
          waiting.delete(response);
        });
      }
      waiting.set(response, (waiting.get(response) ?? 0) + bytes);
      total += bytes;
      response.write(frame, () => give(response, bytes));
    },
  };
}
