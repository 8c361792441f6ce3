import { Problem, type ProblemKind, problemFromDocument } from '@virt8ra/contract/plain';
import { chunkBytes, digestBytes } from './chunks.js';

/**
 * The stream between two movers, over mutual TLS. Every frame is a head of 8 bytes (type u8, three zero bytes, length of the body u32) and
 * a body; integers are big-endian. A frame that is too long, malformed or out of turn ends the connection before anything is done with it.
 *
 * | type | from | body |
 * |---|---|---|
 * | hello | sender | JSON `Hello`; the first frame of every connection |
 * | welcome | receiver | JSON `Welcome` |
 * | held | receiver | disk u32, first chunk u32, digests: after the welcome on stream 0, what the receiver holds, all disks in order |
 * | heldZeros | receiver | disk u32, first chunk u32, count u32: the same of chunks that are zeros, to a sender that takes it |
 * | chunk | sender | disk u32, pass u32, chunk u32, codec u32, SHA-256 of the content, content unless the codec is zero; brotli: shorter than it is |
 * | ack | receiver | disk u32, pass u32, chunk u32: written and journaled |
 * | passEnd | sender | pass u32; answered by the same when all of the pass is durable |
 * | final | sender | JSON `Final`; answered by the same when the digests are equal and all is durable |
 * | bye | sender | nothing: the answer to `final` arrived |
 * | error | both | JSON `{code, message}`; the last frame of a connection |
 *
 * A sender keeps one chunk in flight on each stream. Version 1.
 */
export const wireVersion = 1;

export const frameType = {
  hello: 1,
  welcome: 2,
  held: 3,
  chunk: 4,
  ack: 5,
  passEnd: 6,
  final: 7,
  bye: 8,
  error: 9,
  heldZeros: 10,
} as const;
export type FrameType = (typeof frameType)[keyof typeof frameType];

/** Brotli is sent only to a receiver that says it among its codecs. */
export const codec = { raw: 0, zero: 1, brotli: 2 } as const;
export const knownCodecs = ['brotli'] as const;

export const headBytes = 8;
export const chunkHeadBytes = 16 + digestBytes;
/** Where a chunk's content begins in a buffer that holds its whole frame. */
export const contentOffset = headBytes + chunkHeadBytes;
export const maximumStreams = 16;
export const maximumDisks = 65;
const heldChunks = 16_384;

const jsonBytes = 64 * 1024;
const longestBody: Readonly<Record<FrameType, number>> = {
  [frameType.hello]: jsonBytes,
  [frameType.welcome]: jsonBytes,
  [frameType.held]: 8 + heldChunks * digestBytes,
  [frameType.chunk]: chunkHeadBytes + chunkBytes,
  [frameType.ack]: 12,
  [frameType.passEnd]: 4,
  [frameType.final]: jsonBytes,
  [frameType.bye]: 0,
  [frameType.error]: jsonBytes,
  [frameType.heldZeros]: 12,
};

export interface Hello {
  readonly version: number;
  readonly transferId: string;
  /** Random, one for each run of a sender: a new one takes the place of the old. */
  readonly session: string;
  readonly stream: number;
  readonly streams: number;
  readonly chunkBytes: number;
  readonly sizes: readonly number[];
  /** It takes `heldZeros`. */
  readonly takesZeros?: boolean;
}

export interface Welcome {
  readonly version: number;
  readonly session: string;
  /** The highest pass the receiver has seen. */
  readonly pass: number;
  /** Root digests, when this transfer is complete here already. */
  readonly complete?: readonly string[];
  /** What it can read beyond raw and zero; absent: nothing. */
  readonly codecs?: readonly string[];
}

/** Root digest of each disk. */
export interface Final {
  readonly roots: readonly string[];
}

export interface ChunkPlace {
  readonly disk: number;
  readonly pass: number;
  readonly index: number;
}

export interface ChunkHead extends ChunkPlace {
  readonly codec: number;
  readonly digest: Buffer;
}

export function badFrame(why: string, facts: object = {}): Problem {
  return new Problem('invalid-request', `the peer does not keep the movers’ protocol: ${why}`, { facts: { ...facts } });
}

function isFrameType(value: number): value is FrameType {
  return value >= frameType.hello && value <= frameType.heldZeros;
}

/** Raises Problem invalid-request for a type that does not exist or a body longer than its type allows. */
export function readHead(head: Buffer): { readonly type: FrameType; readonly bodyBytes: number } {
  const type = head.readUInt8(0);
  const bodyBytes = head.readUInt32BE(4);
  if (!isFrameType(type) || head.readUIntBE(1, 3) !== 0) throw badFrame(`unknown frame type ${type}`);
  if (bodyBytes > longestBody[type]) throw badFrame(`a frame of ${bodyBytes} bytes`, { type });
  return { type, bodyBytes };
}

function framed(type: FrameType, body: Buffer): Buffer {
  const head = Buffer.alloc(headBytes);
  head.writeUInt8(type, 0);
  head.writeUInt32BE(body.length, 4);
  return Buffer.concat([head, body]);
}

export function jsonFrame(type: FrameType, content: object): Buffer {
  const body = Buffer.from(JSON.stringify(content), 'utf8');
  if (body.length > longestBody[type]) throw new Problem('internal', 'a frame grew too long');
  return framed(type, body);
}

export function errorFrame(problem: Problem): Buffer {
  return jsonFrame(frameType.error, { code: problem.kind, message: problem.message.slice(0, 4096) });
}

export function numbersFrame(type: FrameType, numbers: readonly number[]): Buffer {
  const body = Buffer.alloc(numbers.length * 4);
  for (const [index, number] of numbers.entries()) body.writeUInt32BE(number, index * 4);
  return framed(type, body);
}

export function ackFrame({ disk, pass, index }: ChunkPlace): Buffer {
  return numbersFrame(frameType.ack, [disk, pass, index]);
}

/** Frames that tell the digests of the chunks from `first` on. */
export function* heldFrames(disk: number, digests: Buffer, first = 0): Generator<Buffer> {
  const step = heldChunks * digestBytes;
  for (let at = 0; at < digests.length; at += step) {
    const prefix = Buffer.alloc(8);
    prefix.writeUInt32BE(disk, 0);
    prefix.writeUInt32BE(first + at / digestBytes, 4);
    yield framed(frameType.held, Buffer.concat([prefix, digests.subarray(at, at + step)]));
  }
}

/** Writes the heads of a chunk's frame in front of its content, which lies at `contentOffset`; answers the frame to send. */
export function chunkFrame(buffer: Buffer, head: ChunkHead, contentBytes: number): Buffer {
  buffer.writeUInt32BE(frameType.chunk << 24, 0);
  buffer.writeUInt32BE(chunkHeadBytes + contentBytes, 4);
  buffer.writeUInt32BE(head.disk, 8);
  buffer.writeUInt32BE(head.pass, 12);
  buffer.writeUInt32BE(head.index, 16);
  buffer.writeUInt32BE(head.codec, 20);
  head.digest.copy(buffer, 24, 0, digestBytes);
  return buffer.subarray(0, contentOffset + contentBytes);
}

export function readChunkHead(body: Buffer): ChunkHead {
  if (body.length < chunkHeadBytes) throw badFrame('a chunk that is too short');
  return {
    disk: body.readUInt32BE(0),
    pass: body.readUInt32BE(4),
    index: body.readUInt32BE(8),
    codec: body.readUInt32BE(12),
    digest: body.subarray(16, chunkHeadBytes),
  };
}

export function readNumbers(body: Buffer, count: number): number[] {
  if (body.length !== count * 4) throw badFrame('a frame of wrong length');
  return Array.from({ length: count }, (_, index) => body.readUInt32BE(index * 4));
}

function readJson(body: Buffer): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(body.toString('utf8'));
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  } catch {
    // Reported below.
  }
  throw badFrame('a frame that is not a JSON object');
}

const isWhole = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;
const areStrings = (value: unknown, most: number): value is string[] =>
  Array.isArray(value) && value.length <= most && value.every((entry) => typeof entry === 'string');

export function readHello(body: Buffer): Hello {
  const { version, transferId, session, stream, streams, chunkBytes: bytes, sizes, takesZeros } = readJson(body);
  if (!isWhole(version)) throw badFrame('a hello without a version');
  if (version !== wireVersion)
    throw new Problem('unsupported', `the sender speaks version ${version} of the movers’ protocol, this host version ${wireVersion}`);
  if (typeof transferId !== 'string' || typeof session !== 'string' || session.length > 64 || !isWhole(stream) || !isWhole(streams))
    throw badFrame('an incomplete hello');
  if (streams < 1 || streams > maximumStreams || stream >= streams) throw badFrame('a hello for a stream that cannot be');
  if (!isWhole(bytes) || !Array.isArray(sizes) || sizes.length > maximumDisks || !sizes.every(isWhole))
    throw badFrame('an incomplete hello');
  return { version, transferId, session, stream, streams, chunkBytes: bytes, sizes, takesZeros: takesZeros === true };
}

export function readWelcome(body: Buffer): Welcome {
  const { version, session, pass, complete, codecs = [] } = readJson(body);
  if (version !== wireVersion || typeof session !== 'string' || !isWhole(pass)) throw badFrame('an incomplete welcome');
  if (!areStrings(codecs, 16) || (complete !== undefined && !areStrings(complete, maximumDisks))) throw badFrame('an incomplete welcome');
  return { version, session, pass, codecs, ...(complete === undefined ? {} : { complete }) };
}

export function readFinal(body: Buffer): Final {
  const { roots } = readJson(body);
  if (!areStrings(roots, maximumDisks)) throw badFrame('a final frame without root digests');
  return { roots };
}

/** What the peer reports as the end of the connection. */
export function readError(body: Buffer): Problem {
  const { code, message } = readJson(body);
  const problem = problemFromDocument({ code, detail: typeof message === 'string' ? message : 'the peer gave up' }, 500);
  return new Problem(problem.kind satisfies ProblemKind, `the peer says: ${problem.message}`);
}
