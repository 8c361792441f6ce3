import { createInterface } from 'node:readline';
import { createLog } from '../log.js';
import { systemClock } from '../system/boot-clock.js';
import type { MoverNotice } from '../transfer/mover-port.js';
import { Orders } from './orders.js';
import { runDigest } from './run-digest.js';
import { runFetch } from './run-fetch.js';
import { runReceive } from './run-receive.js';
import { runSend } from './run-send.js';
import { runUpload } from './run-upload.js';
import type { MoverRole } from './spawn.js';

/**
 * Entry point of a mover's process. Standard input: one line of JSON with the role, then one line for each order. Standard output: one line of
 * JSON for each notice. Standard error: the log. The end of the input means that the agent is gone: the mover stops, and the next agent's mover
 * goes on. Secrets come by standard input alone.
 */
function main(): void {
  const log = createLog((line) => process.stderr.write(line), 'debug');
  const notify = (notice: MoverNotice) => process.stdout.write(`${JSON.stringify(notice)}\n`);
  const orders = new Orders();
  let started = false;
  const begin = async (role: MoverRole) => {
    const common = { bootId: systemClock().bootId, commands: orders, log, notify };
    switch (role.type) {
      case 'send':
        return await runSend({ config: role.config, ...common });
      case 'receive':
        return await runReceive({ config: role.config, ...common });
      case 'fetch':
        return await runFetch({ config: role.config, ...common });
      case 'upload':
        return await runUpload({ config: role.config, ...common });
      case 'digest':
        return await runDigest({ config: role.config, ...common });
    }
  };
  const lines = createInterface({ input: process.stdin });
  lines.on('line', (line) => {
    const message = JSON.parse(line) as MoverRole | { readonly order: 'finish' | 'abort' | 'hold' | 'go-on' };
    if ('order' in message) {
      if (message.order === 'finish') return orders.finish();
      if (message.order === 'abort') return orders.abort();
      return orders.hold(message.order === 'hold');
    }
    if (started) return;
    started = true;
    begin(message).then(
      () => lines.close(),
      (error: unknown) => {
        log.error('a mover failed', { problem: error instanceof Error ? error.stack : String(error) });
        process.exit(1);
      },
    );
  });
  lines.on('close', () => {
    orders.stop();
    process.stdin.destroy();
  });
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => lines.close());
  // The agent went away in the middle of a notice.
  process.stdout.on('error', () => lines.close());
  process.stderr.on('error', () => {});
}

main();
