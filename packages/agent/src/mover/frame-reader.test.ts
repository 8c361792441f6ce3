import { Problem } from '@virt8ra/contract';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { chunkBytes, digestOf } from './chunks.js';
import { type Frame, FrameReader } from './frame-reader.js';
import {
  ackFrame,
  chunkFrame,
  contentOffset,
  errorFrame,
  frameType,
  heldFrames,
  jsonFrame,
  numbersFrame,
  readChunkHead,
  readError,
  readFinal,
  readHello,
  readNumbers,
  readWelcome,
} from './wire.js';

const hello = { version: 1, transferId: 't', session: 's', stream: 0, streams: 1, chunkBytes, sizes: [5] };

/** A stream that counts how often it is told to wait. */
class Valve {
  pauses = 0;
  open = true;
  pause() {
    this.pauses += 1;
    this.open = false;
  }
  resume() {
    this.open = true;
  }
}

function frameOf(content: Buffer, length = content.length): Buffer {
  const buffer = Buffer.alloc(contentOffset + length);
  content.copy(buffer, contentOffset);
  return chunkFrame(buffer, { disk: 1, pass: 2, index: 3, codec: 0, digest: digestOf(content) }, length);
}

async function read(pieces: readonly Buffer[], contentBytes = chunkBytes) {
  const frames: { type: number; body: Buffer; content: Buffer }[] = [];
  const failures: unknown[] = [];
  const valve = new Valve();
  let running = 0;
  const handler = async ({ type, body, content }: Frame) => {
    running += 1;
    expect(running).toBe(1);
    await Promise.resolve();
    frames.push({ type, body: Buffer.from(body), content: Buffer.from(content) });
    running -= 1;
  };
  const reader = new FrameReader(valve, contentBytes, handler, (error) => failures.push(error));
  for (const piece of pieces) {
    reader.take(piece);
    // Half of the pieces come although the stream was told to wait.
    if (piece.length % 2 === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  await new Promise((resolve) => setImmediate(resolve));
  return { frames, failures, valve };
}

describe('the reader of frames', () => {
  it('finds the same frames in whatever pieces they come, one at a time', async () => {
    const content = Buffer.from('content '.repeat(500));
    const stream = Buffer.concat([
      jsonFrame(frameType.hello, hello),
      frameOf(content),
      numbersFrame(frameType.bye, []),
      ackFrame({ disk: 1, pass: 2, index: 3 }),
      frameOf(Buffer.alloc(0)),
      numbersFrame(frameType.passEnd, [9]),
    ]);
    await fc.assert(
      fc.asyncProperty(fc.array(fc.integer({ min: 0, max: stream.length }), { maxLength: 12 }), async (cuts) => {
        const places = [0, ...cuts.sort((a, b) => a - b), stream.length];
        const { frames, failures, valve } = await read(places.slice(1).map((end, at) => stream.subarray(places[at], end)));
        expect(failures).toEqual([]);
        expect(frames.map(({ type }) => type)).toEqual([1, 4, 8, 5, 4, 6]);
        expect(frames[1]?.content.equals(content)).toBe(true);
        expect(readChunkHead(frames[1]?.body ?? Buffer.alloc(0))).toMatchObject({ disk: 1, pass: 2, index: 3, codec: 0 });
        expect(valve.open).toBe(true);
        expect(valve.pauses).toBe(6);
      }),
      { seed: fc.readConfigureGlobal().seed ?? 7, numRuns: 100 },
    );
  });

  it('never throws at, and never believes, random bytes', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ minLength: 8, maxLength: 400 }), async (bytes) => {
        bytes[1] = 1;
        const { frames, failures } = await read([Buffer.from(bytes)]);
        expect(frames).toEqual([]);
        expect(failures).toHaveLength(1);
        expect(failures[0]).toMatchObject({ kind: 'invalid-request' });
      }),
      { seed: fc.readConfigureGlobal().seed ?? 8, numRuns: 300 },
    );
  });

  it.each([
    ['an unknown type', Buffer.from([11, 0, 0, 0, 0, 0, 0, 0])],
    ['a hello of 64 KiB and a byte', Buffer.from([1, 0, 0, 0, 0, 1, 0, 1])],
    ['an acknowledgement of 13 bytes', Buffer.from([5, 0, 0, 0, 0, 0, 0, 13])],
    ['a chunk of 4 GiB', Buffer.from([4, 0, 0, 0, 255, 255, 255, 255])],
    ['a chunk longer than a chunk', Buffer.from([4, 0, 0, 0, 0, 16, 0, 49])],
    ['a chunk without room for its own head', Buffer.from([4, 0, 0, 0, 0, 0, 0, 47])],
  ])('refuses %s as soon as its head is there', async (_, head) => {
    const { frames, failures } = await read([head]);
    expect(frames).toEqual([]);
    expect(failures).toMatchObject([{ kind: 'invalid-request' }]);
  });

  it('refuses content where none is expected', async () => {
    const { failures } = await read([frameOf(Buffer.alloc(1))], 0);
    expect(failures).toMatchObject([{ kind: 'invalid-request' }]);
  });

  it('stops for good at the first failure of a handler', async () => {
    const failures: unknown[] = [];
    let handled = 0;
    const fault = new Problem('conflict', 'no');
    const reader = new FrameReader(
      new Valve(),
      0,
      () => {
        handled += 1;
        return Promise.reject(fault);
      },
      (error) => failures.push(error),
    );
    reader.take(Buffer.concat([numbersFrame(frameType.passEnd, [1]), numbersFrame(frameType.passEnd, [2])]));
    await new Promise((resolve) => setImmediate(resolve));
    reader.take(numbersFrame(frameType.passEnd, [3]));
    expect({ handled, failures }).toEqual({ handled: 1, failures: [fault] });
  });
});

describe('the frames’ bodies', () => {
  const body = (frame: Buffer) => frame.subarray(8);
  const json = (content: object) => body(jsonFrame(frameType.hello, content));

  it('come back as they were written', () => {
    expect(readHello(json(hello))).toEqual({ ...hello, takesZeros: false });
    expect(readHello(json({ ...hello, takesZeros: true }))).toEqual({ ...hello, takesZeros: true });
    const welcome = { version: 1, session: 's', pass: 4, codecs: ['brotli'], complete: ['a'] };
    expect(readWelcome(body(jsonFrame(frameType.welcome, { version: 1, session: 's', pass: 4 })))).toMatchObject({ codecs: [] });
    expect(readWelcome(body(jsonFrame(frameType.welcome, welcome)))).toEqual(welcome);
    expect(readFinal(body(jsonFrame(frameType.final, { roots: ['a', 'b'] })))).toEqual({ roots: ['a', 'b'] });
    expect(readNumbers(body(ackFrame({ disk: 1, pass: 2, index: 3 })), 3)).toEqual([1, 2, 3]);
    const told = readError(body(errorFrame(new Problem('exhausted', 'the disk is full'))));
    expect(told).toMatchObject({ kind: 'exhausted', message: 'the peer says: the disk is full' });
    const digests = Buffer.alloc(40_000 * 32, 5);
    const held = [...heldFrames(2, digests)];
    expect(Buffer.concat(held.map((frame) => frame.subarray(16))).equals(digests)).toBe(true);
    expect(held.map((frame) => [frame.readUInt32BE(8), frame.readUInt32BE(12)])).toEqual([
      [2, 0],
      [2, 16_384],
      [2, 32_768],
    ]);
  });

  it.each([
    ['no JSON', Buffer.from('{')],
    ['no object', Buffer.from('[]')],
    ['no version', json({ ...hello, version: undefined })],
    ['a stream that cannot be', json({ ...hello, stream: 1 })],
    ['too many streams', json({ ...hello, streams: 17 })],
    ['a negative size', json({ ...hello, sizes: [-1] })],
    ['a size that is no number', json({ ...hello, sizes: ['1'] })],
    ['too many disks', json({ ...hello, sizes: Array(66).fill(1) })],
  ])('refuse a hello with %s', (_, bytes) => {
    expect(() => readHello(bytes)).toThrow(expect.objectContaining({ kind: 'invalid-request' }));
  });

  it('refuse a version that is not spoken here, by name', () => {
    expect(() => readHello(json({ ...hello, version: 2 }))).toThrow(expect.objectContaining({ kind: 'unsupported' }));
  });
});
