import {
  createWindow,
  endedBecause,
  type OpenedStream,
  Problem,
  type StreamEnded,
  type StreamNote,
  type StreamNoteOf,
} from '@virt8ra/contract';
import type { Session } from '../session.js';
import { createEscapeKeys } from '../stream/escape-keys.js';
import { patientOpen } from '../stream/patient-open.js';
import type { InputHold } from '../terminal.js';
import { instanceAddress } from './instance-port-forward.js';

export interface ConsoleFlags {
  readonly readOnly?: boolean;
  readonly take?: boolean;
  readonly log?: boolean;
}

/** Ends that a new stream follows by itself. */
const followed: readonly StreamEnded['code'][] = ['moved', 'restarting', 'cut', 'stopping', 'old'];
/** One that has just been started is waited for. */
const firstPatienceSeconds = 30;
/** A move may take its time before the guest is up elsewhere. */
const againPatienceSeconds = 180;

/** The serial console of an instance, until `~.`, the interrupt or the end of the guest; comes back by itself after a move or a restart. */
export async function instanceConsole(session: Session, name: string, flags: ConsoleFlags): Promise<void> {
  const { client, terminal } = session;
  const address = instanceAddress(session, name);
  if (flags.readOnly === true && flags.take === true) throw new Problem('invalid-request', '--read-only and --take contradict each other');
  if (flags.log === true) {
    for await (const octets of client.consoleLog(address)) await new Promise<void>((written) => terminal.outOctets(octets, written));
    return;
  }
  const leaving = new AbortController();
  const signal = AbortSignal.any([terminal.signal, leaving.signal]);
  let write = flags.readOnly === true ? 'no' : flags.take === true ? 'take' : 'free';
  const open = async () => await client.stream(address, 'console', { write }, signal);
  const keys = terminal.stdinIsTTY ? 'raw' : 'plain';
  const tell = (text: string): void => terminal.err(keys === 'raw' && write !== 'no' ? `\r\n[${text}]\r\n` : `[${text}]\n`);
  let stream = await patientOpen(open, firstPatienceSeconds, signal);
  const input = write === 'no' ? undefined : createInput(session, () => leaving.abort(), tell);
  try {
    for (;;) {
      tell(greeting(name, stream.opened, write));
      const ended = await follow(session, stream, input, signal, tell);
      if (signal.aborted) return;
      tell(ended.code === 'cut' || ended.code === 'stopping' ? `the connection ended: ${ended.message}` : ended.message);
      if (ended.code === 'stopped' || ended.code === 'done') return;
      if (!followed.includes(ended.code)) throw new Problem('unavailable', `the console ended: ${ended.message}`);
      tell('waiting for it to come back; ~. gives up');
      // Whoever wrote goes on writing, but takes it from nobody a second time.
      if (write === 'take') write = 'free';
      stream = await patientOpen(open, againPatienceSeconds, signal, { alsoConflict: true });
    }
  } catch (error) {
    if (leaving.signal.aborted) return;
    throw error;
  } finally {
    input?.hold.release();
  }
}

interface Input {
  readonly hold: InputHold;
  /** Where the keys go; undefined: nowhere at the moment. */
  sink: ((octets: Uint8Array) => void) | undefined;
  onEnd: (() => void) | undefined;
  over: boolean;
}

function createInput({ terminal }: Session, leave: () => void, tell: (text: string) => void): Input {
  const escaped = createEscapeKeys();
  const input: { sink: Input['sink']; onEnd: Input['onEnd']; over: boolean; hold?: InputHold } = {
    sink: undefined,
    onEnd: undefined,
    over: false,
  };
  const hold = terminal.takeInput({
    octets(keys) {
      if (!terminal.stdinIsTTY) return input.sink?.(keys);
      const { octets, asked } = escaped(keys);
      if (octets.length > 0) input.sink?.(octets);
      // Without a guest to hear it, the interrupt is meant for us.
      if (input.sink === undefined && octets.includes(0x03)) leave();
      for (const each of asked) {
        if (each === 'end') leave();
        else tell('~. ends the console, ~~ sends a ~, ~? tells this');
      }
    },
    end() {
      input.over = true;
      input.onEnd?.();
    },
  });
  return Object.assign(input, { hold });
}

/** Shows one stream until it ends. */
async function follow(
  { terminal }: Session,
  { carrier }: OpenedStream,
  input: Input | undefined,
  signal: AbortSignal,
  tell: (text: string) => void,
): Promise<StreamEnded> {
  const leave = (): void => carrier.end(endedBecause('closed', 'the caller left'));
  signal.addEventListener('abort', leave);
  const shown = createWindow(carrier);
  if (input !== undefined) {
    const typed = createWindow(input.hold);
    input.sink = (octets) => carrier.send(octets, typed.add(octets.length));
    input.onEnd = () => carrier.send({ type: 'end' });
    if (input.over) input.onEnd();
  }
  try {
    return await new Promise<StreamEnded>((resolve) => {
      carrier.listen({
        frame(frame) {
          if (!('type' in frame)) return terminal.outOctets(frame, shown.add(frame.byteLength));
          const text = textOfNote(frame);
          if (text !== undefined) tell(text);
        },
        ended: resolve,
      });
      if (signal.aborted) leave();
    });
  } finally {
    signal.removeEventListener('abort', leave);
    if (input !== undefined) {
      input.sink = undefined;
      input.onEnd = undefined;
      input.hold.resume();
    }
  }
}

function greeting(name: string, { writer, others = [] }: StreamNoteOf<'opened'>, write: string): string {
  const writing = others.find((other) => other.writer)?.by;
  const there = others.length === 0 ? '' : `; also here: ${others.map(({ by }) => by).join(', ')}`;
  if (writer === true) return `console of ${name}${there}; ~. at the beginning of a line ends it`;
  const who = writing === undefined ? 'nobody writes' : `${writing} writes`;
  return `console of ${name}: you watch, ${who}${there}${write === 'no' ? '' : '; --take takes the writing over'}`;
}

function textOfNote(note: StreamNote): string | undefined {
  switch (note.type) {
    case 'said':
      if (note.you === true) return 'you write now';
      return note.event === 'writes' ? `${note.by} writes now` : `${note.by} ${note.event}`;
    case 'missed':
      return `${note.octets} octets of output were left out: this end was too slow`;
    case 'unheard':
      return 'you only watch: what you type is not heard; --take takes the writing over';
    default:
      return undefined;
  }
}
