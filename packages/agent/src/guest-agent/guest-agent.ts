import { Problem } from '@virt8ra/contract/plain';
import { guestAgentChannel } from '../qemu/command-line.js';
import type { Guest } from '../qemu/guest.js';
import { connectGuestSocket } from '../system/guest-files.js';

/** The agent inside a guest, spoken to over its channel: <https://qemu-project.gitlab.io/qemu/interop/qemu-ga-ref.html>. */
export interface GuestAgent {
  /** Brings all file systems to rest and answers how many. Nothing in the guest can write until `thaw`. */
  freeze(): Promise<number>;
  isFrozen(): Promise<boolean>;
  /** May be repeated. */
  thaw(): Promise<void>;
  /** Another question. Raises Problem unavailable without an answer in time, internal when it cannot do it. */
  ask(command: string, timeoutMs: number): Promise<unknown>;
  /** To be called in any case: nobody else can speak to it before. */
  close(): void;
}

/** An agent that is there answers at once; writing everything out before the rest may take longer. */
const answerMs = 3_000;
const freezeMs = 10_000;
const longestAnswer = 64 * 1024;
/** All that is listened to on one connection, and how many lines of it may make no sense. */
const mostBytes = 512 * 1024;
const mostGibberish = 16;

/**
 * Connects to the agent inside a guest; undefined when nobody answers there: the guest has none, or one that hangs. Its answers are the guest's
 * word and nothing more.
 */
export async function openGuestAgent(guest: Guest): Promise<GuestAgent | undefined> {
  if (!(await holdsAgentChannel(guest))) return undefined;
  const endTurn = await guest.agentTurns.take();
  const line = await openLine(guest.paths.agent).catch(() => undefined);
  if (line === undefined) {
    endTurn();
    return undefined;
  }
  const close = (): void => {
    line.close();
    endTurn();
  };
  const run = async (execute: string, timeoutMs = answerMs): Promise<unknown> => await line.ask({ execute }, timeoutMs);
  try {
    // Whatever an earlier connection left unread ends here.
    const id = Math.floor(Math.random() * 2 ** 31);
    await line.ask({ execute: 'guest-sync-delimited', arguments: { id } }, answerMs, (answer) => answer === id);
  } catch {
    close();
    return undefined;
  }
  return {
    freeze: async () => Number(await run('guest-fsfreeze-freeze', freezeMs)),
    isFrozen: async () => (await run('guest-fsfreeze-status')) === 'frozen',
    thaw: async () => void (await run('guest-fsfreeze-thaw')),
    ask: run,
    close,
  };
}

/** Whether something inside the guest has the channel open, be it that it answers or not. */
export async function holdsAgentChannel(guest: Guest): Promise<boolean> {
  const devices = (await guest.monitor.run('query-chardev')) as { readonly label: string; readonly 'frontend-open': boolean }[];
  return devices.some((device) => device.label === guestAgentChannel && device['frontend-open']);
}

interface Line {
  /** Raises Problem unavailable without an answer in time, internal with the agent's own words when it cannot do it. */
  ask(question: object, timeoutMs: number, isMeant?: (answer: unknown) => boolean): Promise<unknown>;
  close(): void;
}

/** One question at a time; each answer is a line, before which an octet 255 may stand. */
async function openLine(path: string): Promise<Line> {
  const socket = await connectGuestSocket(path, answerMs);
  let text = '';
  let heard = 0;
  let gibberish = 0;
  let take: (answer: { readonly return?: unknown; readonly error?: { readonly desc?: string } }) => void = () => {};
  let fail: (problem: Problem) => void = () => {};
  socket.setEncoding('latin1').on('data', (piece: Buffer | string) => {
    text += piece;
    heard += piece.length;
    if (text.length > longestAnswer || heard > mostBytes) return void socket.destroy();
    if (!piece.includes('\n')) return;
    for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n')) {
      const line = text.slice(text.lastIndexOf('\u00ff', end) + 1, end);
      text = text.slice(end + 1);
      try {
        take(JSON.parse(Buffer.from(line, 'latin1').toString('utf8')) as Parameters<typeof take>[0]);
      } catch {
        // What an earlier connection had left half read.
        gibberish += 1;
        if (gibberish > mostGibberish) return void socket.destroy();
      }
    }
  });
  const gone = () => fail(new Problem('unavailable', 'the channel to the agent inside the guest has ended'));
  socket.once('close', gone).once('end', gone).on('error', gone);
  socket.resume();
  return {
    ask: async (question, timeoutMs, isMeant = () => true) => {
      const answer = new Promise<unknown>((resolve, reject) => {
        const timer = setTimeout(() => fail(new Problem('unavailable', 'the agent inside the guest does not answer')), timeoutMs);
        fail = (problem) => {
          clearTimeout(timer);
          reject(problem);
        };
        take = ({ return: value, error }) => {
          if (error === undefined && !isMeant(value)) return;
          clearTimeout(timer);
          if (error === undefined) resolve(value);
          else reject(new Problem('internal', `the agent inside the guest: ${error.desc ?? 'no reason given'}`));
        };
      });
      if (socket.destroyed) gone();
      else socket.write(`\u00ff${JSON.stringify(question)}\n`, 'latin1');
      return await answer;
    },
    close: () => socket.destroy(),
  };
}
