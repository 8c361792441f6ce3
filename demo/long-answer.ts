import { spawn } from 'node:child_process';

/** One connection whose answer never ends. */
export interface LongAnswer {
  /** Whether more comes by it within that time. */
  goesOn(withinSeconds: number): Promise<boolean>;
  close(): void;
}

const program = `require('node:http').get(process.argv[1], { agent: false }, (reply) => reply.pipe(process.stdout)).on('error', () => process.exit(1))`;

/**
 * Asks from inside a network's namespace, as a neighbour of the guest would: access endpoints end the connections that lead to where a guest was. Resolves
 * once the first of the answer is there. Raises when the guest does not answer.
 */
export async function openLongAnswer(namespace: string, url: string): Promise<LongAnswer> {
  let bytes = 0;
  let over = false;
  const asker = spawn('nsenter', [`--net=/run/netns/${namespace}`, process.execPath, '-e', program, url], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  await new Promise<void>((resolve, reject) => {
    asker.stdout.on('data', (part: Buffer) => {
      bytes += part.length;
      resolve();
    });
    asker.on('close', () => {
      over = true;
      reject(new Error(`${url} did not answer in its network`));
    });
    asker.on('error', reject);
  });
  return {
    async goesOn(withinSeconds) {
      const before = bytes;
      const deadline = performance.now() + withinSeconds * 1000;
      while (!over && bytes === before && performance.now() < deadline) await new Promise((resolve) => setTimeout(resolve, 50));
      return !over && bytes > before;
    },
    close: () => asker.kill('SIGKILL'),
  };
}
