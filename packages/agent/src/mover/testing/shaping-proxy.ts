import { connect, createServer, type Socket } from 'node:net';
import { Throttle } from '../throttle.js';

export interface ShapingProxy {
  readonly port: number;
  /** Octets from the side that connects, and from the other. */
  readonly forth: number;
  readonly back: number;
  /** One bit of what comes next is turned over. */
  flipNext(): void;
  /** Nothing goes on in either direction. */
  stall(stalled: boolean): void;
  close(): void;
}

/** A link of so many bytes a second in each direction, in user space; without a number it lets through what it can. */
export async function openShapingProxy(to: { host: string; port: number }, bytesPerSecond?: number): Promise<ShapingProxy> {
  const sockets = new Set<Socket>();
  const counts = { forth: 0, back: 0 };
  const rate = () => bytesPerSecond;
  const buckets = { forth: new Throttle(rate), back: new Throttle(rate) };
  let flips = 0;
  let stalled: Promise<void> | undefined;
  let goOn: () => void = () => {};
  const carry = (from: Socket, into: Socket, way: 'forth' | 'back') => {
    from.on('data', (bytes: Buffer) => {
      counts[way] += bytes.length;
      if (way === 'forth' && flips > 0 && bytes.length > 4096) {
        flips -= 1;
        bytes.writeUInt8(bytes.readUInt8(2048) ^ 1, 2048);
      }
      from.pause();
      void buckets[way].take(bytes.length).then(async () => {
        await stalled;
        if (into.destroyed || into.write(bytes)) from.resume();
        else into.once('drain', () => from.resume());
      });
    });
    from.on('error', () => into.destroy());
    from.on('close', () => into.destroy());
    sockets.add(from);
  };
  const server = createServer((near) => {
    const far = connect({ ...to, noDelay: true });
    near.setNoDelay(true);
    carry(near, far, 'forth');
    carry(far, near, 'back');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const bound = server.address();
  return {
    port: typeof bound === 'object' && bound !== null ? bound.port : 0,
    get forth() {
      return counts.forth;
    },
    get back() {
      return counts.back;
    },
    flipNext: () => {
      flips += 1;
    },
    stall: (on) => {
      goOn();
      stalled = on
        ? new Promise((resolve) => {
            goOn = resolve;
          })
        : undefined;
    },
    close: () => {
      goOn();
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}
