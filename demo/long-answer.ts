import { request } from 'node:http';

/** One connection whose answer never ends. */
export interface LongAnswer {
  /** Whether more comes by it within that time. */
  goesOn(withinSeconds: number): Promise<boolean>;
  close(): void;
}

/** Resolves once the first of it is there. Raises when the guest does not answer. */
export async function openLongAnswer(url: string): Promise<LongAnswer> {
  let bytes = 0;
  let over = false;
  let heard: () => void = () => {};
  const sent = request(url, { agent: false });
  const first = new Promise<void>((resolve, reject) => {
    heard = resolve;
    sent.on('error', (error) => {
      over = true;
      reject(error);
    });
    sent.on('response', (reply) => {
      reply.on('data', (part: Buffer) => {
        bytes += part.length;
        heard();
      });
      const end = () => {
        over = true;
        heard();
      };
      for (const event of ['end', 'error', 'close'] as const) reply.on(event, end);
    });
  });
  sent.end();
  await first;
  return {
    async goesOn(withinSeconds) {
      const before = bytes;
      const deadline = performance.now() + withinSeconds * 1000;
      while (!over && bytes === before && performance.now() < deadline) await new Promise((resolve) => setTimeout(resolve, 50));
      return !over && bytes > before;
    },
    close: () => sent.destroy(),
  };
}
