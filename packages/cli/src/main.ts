#!/usr/bin/env node
import { run } from './program.js';
import { terminalFromProcess } from './terminal.js';

const interrupt = new AbortController();
for (const [signal, code] of [
  ['SIGINT', 130],
  ['SIGTERM', 143],
] as const) {
  process.on(signal, () => {
    // The first asks the command to say where things stand; the second does not wait for it.
    if (interrupt.signal.aborted) process.exit(code);
    interrupt.abort();
  });
}
// A reader that has seen enough, such as head, is no failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 1));

process.exit(await run(process.argv.slice(2), terminalFromProcess(process, interrupt.signal)));
