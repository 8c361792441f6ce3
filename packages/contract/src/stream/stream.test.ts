import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { type CarryingSocket, carrierFromSocket, type StreamCarrier, type StreamFrame } from './carrier.js';
import { joinOctets, type OctetSocket } from './join-octets.js';
import { endedBecause, type StreamEnded, streamFrameBytes, streamWindowBytes } from './note.js';
import { relayStreams, type StreamCounts } from './relay.js';

type Listener = (...given: unknown[]) => void;

class Emitter {
  readonly listeners = new Map<string, Listener[]>();
  on(event: string, listener: (...given: never[]) => void): this {
    this.listeners.set(event, [...(this.listeners.get(event) ?? []), listener as Listener]);
    return this;
  }
  emit(event: string, ...given: unknown[]): void {
    for (const listener of this.listeners.get(event) ?? []) listener(...given);
  }
}

/** A WebSocket whose other end is the test: what was sent leaves when the test says so. */
class FakeSocket extends Emitter implements CarryingSocket {
  readyState = 1;
  paused = false;
  pings = 0;
  readonly sent: (Uint8Array | string)[] = [];
  readonly leaving: (() => void)[] = [];
  send(content: Uint8Array | string, sent: () => void): void {
    this.sent.push(content);
    this.leaving.push(sent);
  }
  /** Everything under way has left. */
  drain(): void {
    for (const left of this.leaving.splice(0)) left();
  }
  get underWayBytes(): number {
    return this.sent.slice(this.sent.length - this.leaving.length).reduce((sum, each) => sum + each.length, 0);
  }
  ping(): void {
    this.pings += 1;
  }
  pause(): void {
    this.paused = true;
  }
  resume(): void {
    this.paused = false;
  }
  close(): void {
    this.readyState = 2;
  }
  terminate(): void {
    this.readyState = 3;
    this.emit('close');
  }
  octets(count: number): void {
    this.emit('message', new Uint8Array(count), true);
  }
  text(text: string): void {
    this.emit('message', text, false);
  }
  get lastNote(): unknown {
    return JSON.parse(String(this.sent.at(-1)));
  }
}

class FakeConnection extends Emitter implements OctetSocket {
  paused = false;
  ended = false;
  destroyed = false;
  readonly written: Uint8Array[] = [];
  readonly leaving: (() => void)[] = [];
  write(octets: Uint8Array, written: () => void): void {
    this.written.push(octets);
    this.leaving.push(written);
  }
  end(): void {
    this.ended = true;
  }
  destroy(): void {
    this.destroyed = true;
    this.emit('close');
  }
  pause(): void {
    this.paused = true;
  }
  resume(): void {
    this.paused = false;
  }
}

const heard = (carrier: StreamCarrier): { frames: StreamFrame[]; ended: StreamEnded | undefined } => {
  const found: { frames: StreamFrame[]; ended: StreamEnded | undefined } = { frames: [], ended: undefined };
  carrier.listen({
    frame: (frame) => found.frames.push(frame),
    ended: (ended) => {
      found.ended = ended;
    },
  });
  return found;
};

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

describe('a carrier', () => {
  it('loses nothing that came before somebody listened', () => {
    const socket = new FakeSocket();
    const carrier = carrierFromSocket(socket);
    expect(socket.paused).toBe(true);
    socket.octets(3);
    socket.text('{"type":"end"}');
    expect(heard(carrier).frames).toEqual([new Uint8Array(3), { type: 'end' }]);
    expect(socket.paused).toBe(false);
  });

  it.each([
    ['text that is no note', (socket: FakeSocket) => socket.text('hello')],
    ['a note of another sort', (socket: FakeSocket) => socket.text('{"type":"exec","command":"id"}')],
    ['a note with a surplus member', (socket: FakeSocket) => socket.text('{"type":"end","more":1}')],
    ['a note longer than any', (socket: FakeSocket) => socket.text(`{"type":"end"${' '.repeat(20_000)}}`)],
    ['a frame that is too large', (socket: FakeSocket) => socket.octets(streamFrameBytes + 1)],
    ['fragments', (socket: FakeSocket) => socket.emit('message', [new Uint8Array(1)], true)],
  ])('ends at %s, and hears nothing after it', (_what, send) => {
    const socket = new FakeSocket();
    const told = heard(carrierFromSocket(socket));
    send(socket);
    socket.octets(1);
    expect(told).toMatchObject({ frames: [], ended: { code: 'protocol' } });
    expect(socket.lastNote).toMatchObject({ type: 'ended', code: 'protocol' });
    expect(socket.readyState).toBe(2);
  });

  it('says why the other end left, and that the connection broke when it did not say', () => {
    const [one, other] = [new FakeSocket(), new FakeSocket()];
    const [first, second] = [heard(carrierFromSocket(one)), heard(carrierFromSocket(other))];
    one.text(JSON.stringify(endedBecause('moved', 'to another host')));
    other.emit('error', new Error('ECONNRESET'));
    other.emit('close');
    expect(first.ended).toEqual({ type: 'ended', code: 'moved', message: 'to another host' });
    expect(second.ended).toEqual({ type: 'ended', code: 'cut', message: 'ECONNRESET' });
  });

  it('takes a peer for gone that is silent, but not one that it holds back itself', () => {
    const [quiet, held] = [new FakeSocket(), new FakeSocket()];
    const options = { beatSeconds: 1, silenceSeconds: 3 };
    const told = heard(carrierFromSocket(quiet, options));
    const carrier = carrierFromSocket(held, options);
    const kept = heard(carrier);
    carrier.pause();
    vi.advanceTimersByTime(5_000);
    expect(told.ended).toMatchObject({ code: 'cut', message: 'nothing was heard for 3 s' });
    expect(kept.ended).toBeUndefined();
    expect(held.pings).toBe(5);
  });

  it('answers senders also when nothing can be sent any more', () => {
    const socket = new FakeSocket();
    const carrier = carrierFromSocket(socket);
    carrier.end(endedBecause('closed', ''));
    const sent = vi.fn();
    carrier.send(new Uint8Array(1), sent);
    expect(sent).toHaveBeenCalledOnce();
  });
});

describe('a relay', () => {
  const join = () => {
    const [near, far] = [new FakeSocket(), new FakeSocket()];
    const ends: [StreamEnded, StreamCounts][] = [];
    const end = relayStreams(carrierFromSocket(near), carrierFromSocket(far), {
      nearMaySay: (note) => note.type === 'end',
      onEnd: (...ended) => ends.push(ended),
    });
    return { near, far, ends, end };
  };

  it('holds a fast end back while the other does not take, and keeps no more than the window and a frame', () => {
    const { near, far } = join();
    for (let sent = 0; !far.paused && sent < 100; sent += 1) far.octets(streamFrameBytes);
    expect(far.paused).toBe(true);
    expect(near.underWayBytes).toBe(streamWindowBytes);
    expect(near.paused).toBe(false);
    near.drain();
    expect(far.paused).toBe(false);
  });

  it('tells both ends why it is over, once, with what went through', () => {
    const { near, far, ends } = join();
    near.octets(10);
    far.octets(7);
    far.octets(7);
    far.text(JSON.stringify(endedBecause('stopped', 'the guest is gone')));
    expect(near.lastNote).toMatchObject({ code: 'stopped', message: 'the guest is gone' });
    near.emit('close');
    expect(ends).toEqual([[expect.objectContaining({ code: 'stopped' }), { forth: 10, back: 14 }]]);
  });

  it('lets a caller say nothing that only the far end may', () => {
    const { near, far, ends } = join();
    near.text('{"type":"said","event":"writes","by":"root"}');
    expect(far.sent.map(String).join()).not.toContain('root');
    expect(ends[0]?.[0]).toMatchObject({ code: 'protocol' });
    expect(far.lastNote).toMatchObject({ code: 'protocol' });
  });

  it('takes a broken connection of the caller for leaving, and one of the host for a cut', () => {
    const [one, other] = [join(), join()];
    one.near.emit('close');
    other.far.emit('close');
    expect(one.ends[0]?.[0].code).toBe('closed');
    expect(other.ends[0]?.[0].code).toBe('cut');
  });
});

describe('octets of a connection', () => {
  const join = () => {
    const socket = new FakeSocket();
    const connection = new FakeConnection();
    const onEnd = vi.fn();
    joinOctets(carrierFromSocket(socket), connection, { onEnd });
    return { socket, connection, onEnd };
  };

  it('go in pieces that fit a frame', () => {
    const { socket, connection } = join();
    connection.emit('data', new Uint8Array(2 * streamFrameBytes + 1));
    expect(socket.sent.map((each) => each.length)).toEqual([streamFrameBytes, streamFrameBytes, 1]);
  });

  it('are held back on both sides by a slow reader on the other', () => {
    const { socket, connection } = join();
    while (!connection.paused) connection.emit('data', new Uint8Array(streamFrameBytes));
    expect(socket.underWayBytes).toBe(streamWindowBytes);
    for (let sent = 0; !socket.paused && sent < 100; sent += 1) socket.octets(streamFrameBytes);
    expect(connection.leaving).toHaveLength(streamWindowBytes / streamFrameBytes);
    socket.drain();
    for (const left of connection.leaving.splice(0)) left();
    expect([connection.paused, socket.paused]).toEqual([false, false]);
  });

  it('end in each direction by itself, and the stream when both have', () => {
    const { socket, connection, onEnd } = join();
    socket.text('{"type":"end"}');
    expect(connection.ended).toBe(true);
    connection.emit('data', new Uint8Array(1));
    expect(onEnd).not.toHaveBeenCalled();
    connection.emit('end');
    expect(onEnd).toHaveBeenCalledWith(expect.objectContaining({ code: 'done' }));
    expect(socket.lastNote).toMatchObject({ code: 'done' });
  });

  it('end with the reason when either breaks', () => {
    const [one, other] = [join(), join()];
    one.connection.emit('error', new Error('ECONNRESET'));
    one.connection.emit('close');
    expect(one.socket.lastNote).toMatchObject({ code: 'closed', message: 'ECONNRESET' });
    other.socket.emit('close');
    expect(other.connection.destroyed).toBe(true);
    expect(other.onEnd).toHaveBeenCalledOnce();
  });
});
