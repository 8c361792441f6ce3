import { connect } from 'node:net';
import { createInterface } from 'node:readline';

/** One monitor of a QEMU process, as QEMU's own documentation uses it. */
export interface Qmp {
  run(command: string, words?: object): Promise<unknown>;
  /** When QEMU said so, in ms of its clock; raises when it does not within a minute. */
  event(name: string): Promise<number>;
  /** Asks until the answer is the wanted one. */
  until(command: string, wanted: (answer: never) => boolean): Promise<void>;
  close(): void;
}

interface Line {
  readonly return?: unknown;
  readonly error?: { readonly desc: string };
  readonly event?: string;
  readonly timestamp?: { readonly seconds: number; readonly microseconds: number };
}

const patienceMs = 60_000;
const lookMs = 5;

export async function openQmp(path: string): Promise<Qmp> {
  const socket = await connectedTo(path);
  const events: { readonly name: string; readonly atMs: number }[] = [];
  const waiting: ((line: Line) => void)[] = [];
  const lines = createInterface({ input: socket });
  lines.on('error', () => {});
  lines.on('line', (text) => {
    const line = JSON.parse(text) as Line;
    if (line.event !== undefined && line.timestamp !== undefined)
      events.push({ name: line.event, atMs: line.timestamp.seconds * 1000 + line.timestamp.microseconds / 1000 });
    else if ('return' in line || line.error !== undefined) waiting.shift()?.(line);
  });
  const run = async (command: string, words?: object): Promise<unknown> => {
    socket.write(`${JSON.stringify({ execute: command, ...(words === undefined ? {} : { arguments: words }) })}\n`);
    const line = await new Promise<Line>((resolve) => waiting.push(resolve));
    if (line.error !== undefined) throw new Error(`${command}: ${line.error.desc}`);
    return line.return;
  };
  const within = async <Found>(what: string, look: () => Promise<Found | undefined>): Promise<Found> => {
    const deadline = performance.now() + patienceMs;
    for (;;) {
      const found = await look();
      if (found !== undefined) return found;
      if (performance.now() > deadline) throw new Error(`${what} did not come about`);
      await new Promise((resolve) => setTimeout(resolve, lookMs));
    }
  };
  await run('qmp_capabilities');
  return {
    run,
    event: async (name) => await within(name, async () => events.findLast((event) => event.name === name)?.atMs),
    until: async (command, wanted) => void (await within(command, async () => (wanted((await run(command)) as never) ? true : undefined))),
    close: () => socket.destroy(),
  };
}

async function connectedTo(path: string) {
  const deadline = performance.now() + patienceMs;
  for (;;) {
    const socket = connect(path);
    const failed = await new Promise<Error | undefined>((resolve) => {
      socket.once('connect', () => resolve(undefined));
      socket.once('error', resolve);
    });
    if (failed === undefined) return socket.on('error', () => {});
    if (performance.now() > deadline) throw failed;
    await new Promise((resolve) => setTimeout(resolve, lookMs * 4));
  }
}
