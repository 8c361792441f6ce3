import { type Static, Type } from 'typebox';
import { Value } from 'typebox/value';
import { oneOf } from '../shape.js';

/**
 * Streams: octets in both directions between a caller and one place in an instance. A stream is a WebSocket from the caller to the control
 * plane and another that the host's agent dials out for it; both speak this. Binary frames are the octets, text frames are notes about them.
 * TCP's own flow control holds a fast end back: nobody keeps more than `streamWindowBytes` of either direction.
 */
export const streamSubprotocol = 'virt8ra.stream.v1';
/** A browser, which cannot send a token, offers this with a ticket behind it as a second subprotocol. */
export const streamTicketPrefix = 'virt8ra.ticket.';
/** Larger frames are a protocol error. */
export const streamFrameBytes = 64 * 1024;
export const streamWindowBytes = 256 * 1024;
/** A console begins with at most this much of its past; all that is kept is another target. */
export const scrollbackMostBytes = streamWindowBytes;

const closed = { additionalProperties: false } as const;
const Name = Type.String({ maxLength: 128 });
const Words = Type.String({ maxLength: 1024 });

/** The place in an instance that a stream leads to. */
export const StreamTarget = Type.Union([
  /** Its serial console: `free` writes unless somebody does already, `take` takes the writing over. Begins with the newest of what was kept. */
  Type.Object(
    {
      type: Type.Literal('console'),
      write: oneOf(['no', 'free', 'take']),
      scrollbackBytes: Type.Integer({ minimum: 0, maximum: scrollbackMostBytes }),
    },
    closed,
  ),
  /** All that was kept of its console's output, whether it runs or not; then the stream ends. */
  Type.Object({ type: Type.Literal('console-log') }, closed),
  /** Its screen, as RFB. */
  Type.Object({ type: Type.Literal('vnc') }, closed),
  /**
   * What its disks say of its guest, as a `GuestInspection` in JSON, or a problem in its place; then the stream ends. Takes from some ten seconds to minutes. Only to agents
   * with feature `guest-disks`.
   */
  Type.Object({ type: Type.Literal('guest-disks'), maxAgeSeconds: Type.Integer({ minimum: 0, maximum: 86_400 }) }, closed),
  /** A TCP port of it, dialled from within its network. */
  Type.Object({ type: Type.Literal('port'), port: Type.Integer({ minimum: 1, maximum: 65535 }) }, closed),
]);
export type StreamTarget = Static<typeof StreamTarget>;

/**
 * Why a stream is over. `done`: both directions ended in order. `closed`: an end went away. `moved`, `stopped`, `restarting`: of the instance.
 * `cut`: the connection to the host broke. `stopping`: server or agent stop. `old`: it had its time; a new one may begin. `protocol`: an end
 * sent what it may not.
 */
export const streamEndCodes = ['done', 'closed', 'moved', 'stopped', 'restarting', 'cut', 'stopping', 'old', 'protocol'] as const;
export type StreamEndCode = (typeof streamEndCodes)[number];

export const StreamEnded = Type.Object({ type: Type.Literal('ended'), code: oneOf(streamEndCodes), message: Words }, closed);
export type StreamEnded = Static<typeof StreamEnded>;

export const StreamNote = Type.Union([
  /** First of the far end: the target is there. Of a console: whether the caller writes, who else is there, and how many octets of the past follow. */
  Type.Object(
    {
      type: Type.Literal('opened'),
      writer: Type.Optional(Type.Boolean()),
      others: Type.Optional(Type.Array(Type.Object({ by: Name, writer: Type.Boolean() }, closed), { maxItems: 64 })),
      scrollbackBytes: Type.Optional(Type.Integer({ minimum: 0 })),
    },
    closed,
  ),
  /** In its place: a problem of the table. */
  Type.Object({ type: Type.Literal('refused'), code: Type.String({ maxLength: 64 }), message: Words }, closed),
  /** No more octets from this end; the other may go on. */
  Type.Object({ type: Type.Literal('end') }, closed),
  /** Last of all. */
  StreamEnded,
  /** Of a console: who came, went, or writes now; `you`: it is the reader of this note. */
  Type.Object(
    { type: Type.Literal('said'), event: oneOf(['joined', 'left', 'writes']), by: Name, you: Type.Optional(Type.Boolean()) },
    closed,
  ),
  /** Of a console: its reader was too slow for these octets of output. */
  Type.Object({ type: Type.Literal('missed'), octets: Type.Integer({ minimum: 1 }) }, closed),
  /** Of a console: input that came from somebody who does not write was left out; said once until that changes. */
  Type.Object({ type: Type.Literal('unheard') }, closed),
]);
export type StreamNote = Static<typeof StreamNote>;
export type StreamNoteOf<Name extends StreamNote['type']> = Extract<StreamNote, { type: Name }>;

const noteBytes = 16 * 1024;

/** Undefined for a text frame that is no note. */
export function noteFromText(text: string): StreamNote | undefined {
  if (text.length > noteBytes) return undefined;
  try {
    const note: unknown = JSON.parse(text);
    return Value.Check(StreamNote, note) ? note : undefined;
  } catch {
    return undefined;
  }
}

export function endedBecause(code: StreamEndCode, message: string): StreamEnded {
  return { type: 'ended', code, message: message.slice(0, 1024) };
}
