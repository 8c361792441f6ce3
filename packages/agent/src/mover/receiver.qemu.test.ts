import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, type TLSSocket } from 'node:tls';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { silentLog } from '../log.js';
import { hasCommand } from '../system/run-command.js';
import { createTestAuthority } from '../testing/test-authority.js';
import { chunkBytes, digestOf } from './chunks.js';
import { DigestTable } from './digest-table.js';
import { FrameReader } from './frame-reader.js';
import type { MoverTls } from './peer.js';
import { type OpenTarget, openReceiveTarget } from './receive-target.js';
import { createReceiver, type Receiver } from './receiver.js';
import { contentDigest, MoverPair } from './testing/mover-pair.js';
import {
  type ChunkHead,
  chunkFrame,
  contentOffset,
  type FrameType,
  frameType,
  type Hello,
  jsonFrame,
  numbersFrame,
  readError,
  readNumbers,
} from './wire.js';

const present = (await hasCommand('qemu-img')) && (await hasCommand('qemu-nbd'));
if (!present) process.stderr.write('skipped: qemu-img and qemu-nbd are not installed\n');

vi.setConfig({ testTimeout: 30_000 });
const mib = 1024 * 1024;
const sizeBytes = 4 * mib + 512;

/** A sender that does as the test says. */
class WildSender {
  readonly socket: TLSSocket;
  readonly #frames: { type: FrameType; body: Buffer }[] = [];
  #wake: () => void = () => {};
  #closed = false;

  constructor(port: number, tls: Partial<MoverTls>) {
    const { certificate, privateKey, ca } = tls;
    const keys = certificate === undefined ? {} : { cert: certificate, key: privateKey };
    this.socket = connect({ host: '127.0.0.1', port, ca, ...keys, checkServerIdentity: () => undefined });
    const reader = new FrameReader(
      this.socket,
      0,
      ({ type, body }) => {
        this.#frames.push({ type, body: Buffer.from(body) });
        this.#wake();
      },
      () => this.socket.destroy(),
    );
    this.socket.on('data', (bytes: Buffer) => reader.take(bytes));
    this.socket.on('error', () => {});
    this.socket.on('close', () => {
      this.#closed = true;
      this.#wake();
    });
  }

  write(bytes: Buffer): this {
    this.socket.write(bytes);
    return this;
  }

  /** The next frame; undefined at the end of the connection. */
  async next(): Promise<{ type: FrameType; body: Buffer } | undefined> {
    while (this.#frames.length === 0 && !this.#closed)
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    return this.#frames.shift();
  }

  async expectRefusal(kind: string, words?: RegExp): Promise<void> {
    let frame = await this.next();
    while (frame !== undefined && frame.type !== frameType.error) frame = await this.next();
    if (frame === undefined) throw new Error('the connection ended without a reason');
    const problem = readError(frame.body);
    expect(problem).toMatchObject({ kind });
    if (words !== undefined) expect(problem.message).toMatch(words);
    expect(await this.next()).toBeUndefined();
  }
}

describe.skipIf(!present)('a receiver among strangers', () => {
  let pair: MoverPair;
  let opened: OpenTarget;
  let receiver: Receiver;
  let senders: WildSender[];

  beforeEach(async () => {
    pair = await MoverPair.make(mkdtempSync(join(tmpdir(), 'v8r-')), [sizeBytes]);
    const { transferId, directory, runtimeDirectory, disks, peerName } = pair.receiveConfig();
    opened = await openReceiveTarget({ transferId, directory, runtimeDirectory, disks, bootId: 'b' });
    const listen = { address: '127.0.0.1', ports: [0] };
    receiver = await createReceiver({ transferId, target: opened.target, tls: pair.credentials('beta'), peerName, listen, log: silentLog });
    senders = [];
  });
  afterEach(async () => {
    for (const { socket } of senders) socket.destroy();
    await receiver.close();
    await opened.close();
    await pair.destroy();
  });

  const dial = (tls: Partial<MoverTls> = pair.credentials('alpha')) => {
    const sender = new WildSender(receiver.port, tls);
    senders.push(sender);
    return sender;
  };
  const hello = (change: Partial<Hello> = {}): Hello => ({
    version: 1,
    transferId: pair.transferId,
    session: 'one',
    stream: 0,
    streams: 2,
    chunkBytes,
    sizes: [sizeBytes],
    ...change,
  });
  const greet = async (change: Partial<Hello> = {}) => {
    const sender = dial().write(jsonFrame(frameType.hello, hello(change)));
    expect(await sender.next()).toMatchObject({ type: frameType.welcome });
    if ((change.stream ?? 0) === 0) expect(await sender.next()).toMatchObject({ type: frameType.held });
    return sender;
  };
  const chunk = (content: Buffer, change: Partial<ChunkHead> = {}) => {
    const buffer = Buffer.alloc(contentOffset + content.length);
    content.copy(buffer, contentOffset);
    return chunkFrame(buffer, { disk: 0, pass: 0, index: 0, codec: 0, digest: digestOf(content), ...change }, content.length);
  };
  const zeros = new DigestTable(sizeBytes);
  /** Nothing was written and nothing journaled. */
  const expectUntouched = async () => {
    expect(opened.target.journal).toMatchObject({ bytes: 0, pass: 0, complete: false, isCheckpointed: true });
    expect(statSync(join(pair.folder, 'beta', 'receive.journal')).size).toBe(96);
    await opened.target.disks[0]?.flush();
    const fresh = join(pair.folder, 'fresh.qcow2');
    execFileSync('qemu-img', ['create', '-q', '-f', 'qcow2', fresh, String(sizeBytes)]);
    expect(contentDigest(pair.target(0))).toBe(contentDigest(fresh));
  };

  it('takes chunks, tells what it holds to the next sender, and completes', async () => {
    const content = randomBytes(mib);
    const first = await greet();
    first.write(chunk(content, { index: 2 }));
    expect(readNumbers((await first.next())?.body ?? Buffer.alloc(0), 3)).toEqual([0, 0, 2]);
    const second = dial().write(jsonFrame(frameType.hello, hello({ session: 'two' })));
    expect(await first.next()).toBeUndefined();
    await second.next();
    const held = (await second.next())?.body.subarray(8) ?? Buffer.alloc(0);
    expect(held.subarray(64, 96).equals(digestOf(content))).toBe(true);
    expect(held.subarray(128, 160).equals(zeros.zero(4))).toBe(true);
    second.write(numbersFrame(frameType.passEnd, [0]));
    expect(await second.next()).toMatchObject({ type: frameType.passEnd });
    const roots = [opened.target.journal.tables[0]?.root() ?? ''];
    second.write(jsonFrame(frameType.final, { roots }));
    expect(await second.next()).toMatchObject({ type: frameType.final });
    second.write(numbersFrame(frameType.bye, []));
    expect(await receiver.finished).toEqual(roots);
    // What arrived is not changed by anyone any more.
    await (await greet({ session: 'three' })).write(chunk(content, { index: 3, pass: 1 })).expectRefusal('conflict', /complete/);
  });

  it('shows strangers nothing', async () => {
    const { certificate: _, privateKey: __, ...nobody } = pair.credentials('alpha');
    expect(await dial(nobody).next()).toBeUndefined();
    const foreign = await createTestAuthority('another CA');
    expect(await dial({ ...(await foreign.hostKey('alpha')), ca: pair.authority.certificate }).next()).toBeUndefined();
    await dial({ ...(await pair.authority.hostKey('gamma')), ca: pair.authority.certificate })
      .write(jsonFrame(frameType.hello, hello()))
      .expectRefusal('forbidden', /not alpha\./);
    await expectUntouched();
  });

  it.each<[string, Partial<Hello>, string]>([
    ['another version', { version: 2 }, 'unsupported'],
    ['another transfer', { transferId: 'other' }, 'forbidden'],
    ['disks of another size', { sizes: [sizeBytes + 512] }, 'conflict'],
    ['more disks', { sizes: [sizeBytes, 512] }, 'conflict'],
    ['chunks of another size', { chunkBytes: 65_536 }, 'conflict'],
  ])('refuses a sender with %s', async (_, change, kind) => {
    await dial()
      .write(jsonFrame(frameType.hello, hello(change)))
      .expectRefusal(kind);
    await expectUntouched();
    await greet();
  });

  const content = randomBytes(mib);
  it.each<[string, () => Buffer, string]>([
    ['a wrong digest', () => chunk(content, { digest: digestOf(Buffer.from('else')) }), 'invalid-request'],
    ['zeros that are none', () => chunk(Buffer.alloc(0), { codec: 1, digest: digestOf(content) }), 'invalid-request'],
    ['an unknown codec', () => chunk(content, { codec: 7 }), 'invalid-request'],
    ['a disk that is not', () => chunk(content, { disk: 1 }), 'invalid-request'],
    ['a place beyond the end', () => chunk(content, { index: 5 }), 'invalid-request'],
    ['too short a content', () => chunk(content.subarray(1)), 'invalid-request'],
    ['too long a content at the end', () => chunk(content, { index: 4 }), 'invalid-request'],
    ['zeros with content', () => chunk(Buffer.alloc(mib), { codec: 1 }), 'invalid-request'],
    ['a frame that never ends', () => Buffer.from([4, 0, 0, 0, 255, 255, 255, 255]), 'invalid-request'],
    ['a frame of the receiver’s own', () => numbersFrame(frameType.ack, [0, 0, 0]), 'invalid-request'],
    ['a second hello', () => jsonFrame(frameType.hello, hello()), 'invalid-request'],
    ['a goodbye too early', () => numbersFrame(frameType.bye, []), 'invalid-request'],
    ['an end that is not true', () => jsonFrame(frameType.final, { roots: ['0'.repeat(64)] }), 'conflict'],
    ['an end of too many disks', () => jsonFrame(frameType.final, { roots: [] }), 'conflict'],
  ])('refuses %s and touches nothing', async (_, frame, kind) => {
    const sender = await greet();
    await sender.write(frame()).expectRefusal(kind);
    await expectUntouched();
    await greet({ session: 'next' });
  });

  it('refuses anything before the hello', async () => {
    await dial().write(chunk(content)).expectRefusal('invalid-request');
    await expectUntouched();
  });

  it('refuses replays: of a chunk, of a stream, of an earlier pass', async () => {
    const sender = await greet();
    sender.write(chunk(content));
    expect(await sender.next()).toMatchObject({ type: frameType.ack });
    await dial()
      .write(jsonFrame(frameType.hello, hello()))
      .expectRefusal('conflict', /stream 0/);
    const other = await greet({ stream: 1 });
    await other.write(chunk(content)).expectRefusal('conflict', /twice/);
    sender.write(chunk(content, { pass: 3, index: 1 }));
    expect(await sender.next()).toMatchObject({ type: frameType.ack });
    await sender.write(chunk(content, { pass: 2, index: 2 })).expectRefusal('invalid-request', /pass 2 within pass 3/);
    expect(receiver.counters).toMatchObject({ bytes: 2 * mib, resentBytes: 0 });
  });

  it('ends a session that a newer one replaced before it writes more', async () => {
    const old = await greet();
    const stream = await greet({ stream: 1 });
    await greet({ session: 'newer' });
    expect(await old.next()).toBeUndefined();
    expect(await stream.next()).toBeUndefined();
    await expectUntouched();
  });
});
