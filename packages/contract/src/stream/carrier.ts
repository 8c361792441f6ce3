import { endedBecause, noteFromText, type StreamEnded, type StreamNote, streamFrameBytes, streamWindowBytes } from './note.js';

/** Octets, or a note about them. */
export type StreamFrame = Uint8Array | StreamNote;

/** What carries one stream to its other end: frames in order, whole, with a way to hold them back. */
export interface StreamCarrier {
  /** `sent` is called once: when the frame has left this process, or when it never will. */
  send(frame: StreamFrame, sent?: () => void): void;
  /** Frames are handed over from here on, and none is lost before. Once. `ended` is the last; it comes also when the other end said nothing. */
  listen(on: { readonly frame: (frame: StreamFrame) => void; readonly ended: (ended: StreamEnded) => void }): void;
  pause(): void;
  resume(): void;
  /** Says why and closes; silent when it is over already. What was sent before still goes out. */
  end(ended: StreamEnded): void;
}

/** What is used of a WebSocket; that of `ws` fits. It must be open. */
export interface CarryingSocket {
  readonly readyState: number;
  on(event: 'message', listener: (content: Uint8Array | ArrayBuffer | Uint8Array[], binary: boolean) => void): unknown;
  on(event: 'close' | 'ping' | 'pong', listener: () => void): unknown;
  on(event: 'error', listener: (error: Error) => void): unknown;
  send(content: Uint8Array | string, sent: () => void): void;
  ping(): void;
  pause(): void;
  resume(): void;
  close(code: number, reason: string): void;
  terminate(): void;
}

export interface CarrierOptions {
  /** Pings go at this pace. Default 15. */
  readonly beatSeconds?: number;
  /** A peer that is not heard for so long is gone. Not while it is held back: its answers are not read then. Default 45. */
  readonly silenceSeconds?: number;
}

// Present in Node and browsers alike; declared here because this package sees neither's types.
declare function setInterval(call: () => void, milliseconds: number): unknown;
declare function setTimeout(call: () => void, milliseconds: number): unknown;
declare function clearInterval(timer: unknown): void;
declare function clearTimeout(timer: unknown): void;

const open = 1;
/** Time that a peer has to close after the end was sent: much after an orderly one, because it may still be busy with what came before. */
const closeMs = { done: 120_000, other: 2_000 } as const;

export function carrierFromSocket(socket: CarryingSocket, options: CarrierOptions = {}): StreamCarrier {
  const { beatSeconds = 15, silenceSeconds = 45 } = options;
  const early: StreamFrame[] = [];
  let listener: Parameters<StreamCarrier['listen']>[0] | undefined;
  let over: StreamEnded | undefined;
  let told = false;
  let held = true;
  let unheardBeats = 0;
  let closing: unknown;

  const tellEnd = (): void => {
    if (told || over === undefined || listener === undefined) return;
    told = true;
    listener.ended(over);
  };
  const finish = (ended: StreamEnded): void => {
    over ??= ended;
    tellEnd();
  };
  const close = (patienceMs: number): void => {
    // A peer that is held back must be read to be heard closing.
    held = false;
    socket.resume();
    socket.close(1000, '');
    closing ??= setTimeout(() => socket.terminate(), patienceMs);
  };
  const end = (ended: StreamEnded): void => {
    if (over !== undefined) return;
    finish(ended);
    if (socket.readyState !== open) return;
    socket.send(JSON.stringify(ended), () => {});
    close(ended.code === 'done' ? closeMs.done : closeMs.other);
  };
  const take = (frame: StreamFrame | undefined): void => {
    if (over !== undefined) return;
    if (frame === undefined) end(endedBecause('protocol', 'the other end sent a frame that is no part of a stream'));
    else if ('type' in frame && frame.type === 'ended') {
      finish(frame);
      close(closeMs.other);
    } else if (listener === undefined) early.push(frame);
    else listener.frame(frame);
  };

  socket.pause();
  socket.on('message', (content, binary) => {
    unheardBeats = 0;
    take(binary ? octetsOf(content) : noteFromText(String(content)));
  });
  for (const event of ['ping', 'pong'] as const) {
    socket.on(event, () => {
      unheardBeats = 0;
    });
  }
  let failure = 'the connection broke';
  socket.on('error', (error) => {
    failure = error.message;
  });
  const beat = setInterval(() => {
    if (held) unheardBeats = 0;
    else unheardBeats += 1;
    if (unheardBeats * beatSeconds > silenceSeconds) {
      failure = `nothing was heard for ${silenceSeconds} s`;
      socket.terminate();
    } else if (socket.readyState === open) socket.ping();
  }, beatSeconds * 1000);
  socket.on('close', () => {
    clearInterval(beat);
    clearTimeout(closing);
    finish(endedBecause('cut', failure));
  });

  return {
    send(frame, sent = () => {}) {
      if (over !== undefined || socket.readyState !== open) return sent();
      socket.send('type' in frame ? JSON.stringify(frame) : frame, () => sent());
    },
    listen(on) {
      listener = on;
      for (const frame of early.splice(0)) on.frame(frame);
      tellEnd();
      if (over !== undefined) return;
      held = false;
      socket.resume();
    },
    pause() {
      held = true;
      socket.pause();
    },
    resume() {
      if (over !== undefined) return;
      held = false;
      socket.resume();
    },
    end,
  };
}

function octetsOf(content: Uint8Array | ArrayBuffer | Uint8Array[]): Uint8Array | undefined {
  // Fragments are put together by the socket unless it was told otherwise.
  if (Array.isArray(content)) return undefined;
  const octets = content instanceof ArrayBuffer ? new Uint8Array(content) : content;
  return octets.byteLength > streamFrameBytes ? undefined : octets;
}

/** Counts what is on its way out and says when to hold the source back. */
export interface Window {
  /** Octets that set out; call the answer when they have left. */
  add(octets: number): () => void;
  readonly octets: number;
}

export function createWindow(source: { pause(): unknown; resume(): unknown }, mostBytes = streamWindowBytes): Window {
  let octets = 0;
  let held = false;
  return {
    get octets() {
      return octets;
    },
    add(count) {
      octets += count;
      if (octets >= mostBytes && !held) {
        held = true;
        source.pause();
      }
      return () => {
        octets -= count;
        if (!held || octets > mostBytes / 2) return;
        held = false;
        source.resume();
      };
    },
  };
}
