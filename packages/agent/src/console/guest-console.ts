import type { Socket } from 'node:net';
import {
  createWindow,
  endedBecause,
  type StreamCarrier,
  type StreamEnded,
  type StreamNote,
  streamFrameBytes,
  streamWindowBytes,
  type Window,
} from '@virt8ra/contract';
import { connectGuestSocket } from '../system/guest-files.js';
import { SerialTail } from './serial-tail.js';

export interface ConsoleCaller {
  /** Whom the others are told of. */
  readonly by: string;
  readonly write: 'no' | 'free' | 'take';
  readonly scrollbackBytes: number;
}

interface Viewer extends ConsoleCaller {
  readonly carrier: StreamCarrier;
  readonly input: Window;
  /** Octets on their way to it. */
  pending: number;
  /** Octets of output left out since it fell behind. */
  missed: number;
  /** It was told that its input is left out. */
  unheard: boolean;
}

const connectMs = 5_000;
/** More watch one console than anybody needs. */
export const viewersMost = 16;

/**
 * The serial console of one running guest: any number watch, one writes. Output is read from the log that QEMU writes by itself, input goes to
 * QEMU's socket. Whoever is slow misses output and is told how much; the guest is never held back by a reader, nor by an agent that is gone:
 * its socket is connected only while somebody writes, and what it says is read and dropped.
 */
export class GuestConsole {
  readonly #socketPath: string;
  readonly #onEmpty: () => void;
  readonly #viewers = new Set<Viewer>();
  #tail: SerialTail | undefined;
  #writer: Viewer | undefined;
  #socket: Promise<Socket> | undefined;
  #ending = false;
  #over = false;

  private constructor(socketPath: string, onEmpty: () => void) {
    this.#socketPath = socketPath;
    this.#onEmpty = onEmpty;
  }

  /** `onEmpty` is called when the last viewer has left; it is closed then. */
  static async open(logPath: string, socketPath: string, onEmpty: () => void): Promise<GuestConsole> {
    const console = new GuestConsole(socketPath, onEmpty);
    console.#tail = await SerialTail.open(logPath, (octets) => console.#show(octets));
    return console;
  }

  get viewers(): number {
    return this.#viewers.size;
  }

  /** Joins a caller: it is told who is there, then the newest of the past, then everything new. */
  async attach(carrier: StreamCarrier, caller: ConsoleCaller): Promise<void> {
    const viewer: Viewer = { ...caller, carrier, input: createWindow(carrier, streamFrameBytes), pending: 0, missed: 0, unheard: false };
    await this.#tail?.withPast(caller.scrollbackBytes, (past) => {
      if (this.#over) return;
      const others = [...this.#viewers].map((other) => ({ by: other.by, writer: other === this.#writer }));
      const before = this.#writer;
      const writes = caller.write === 'take' || (caller.write === 'free' && before === undefined);
      if (writes) this.#writer = viewer;
      carrier.send({ type: 'opened', writer: writes, others, scrollbackBytes: past.length });
      for (let at = 0; at < past.length; at += streamFrameBytes) this.#send(viewer, past.subarray(at, at + streamFrameBytes));
      this.#tell({ type: 'said', event: 'joined', by: viewer.by });
      if (writes && before !== undefined) this.#tell({ type: 'said', event: 'writes', by: viewer.by });
      this.#viewers.add(viewer);
      carrier.listen({
        frame: (frame) => {
          if (!('type' in frame)) this.#take(viewer, frame);
          else if (frame.type !== 'end') carrier.end(endedBecause('protocol', `a caller may not say ${frame.type}`));
        },
        ended: () => this.#leave(viewer),
      });
    });
    if (this.#over) carrier.end(endedBecause('stopped', 'the guest is gone'));
  }

  /** Ends all streams, after the last that the guest said. */
  end(ended: StreamEnded): void {
    if (this.#ending) return;
    this.#ending = true;
    const finish = (): void => this.#finish(ended);
    this.#tail?.withPast(0, () => {}).then(finish, finish);
  }

  #finish(ended: StreamEnded): void {
    if (this.#over) return;
    this.#over = true;
    this.#tail?.close();
    this.#disconnect();
    this.#writer = undefined;
    const all = [...this.#viewers];
    this.#viewers.clear();
    for (const { carrier } of all) carrier.end(ended);
    this.#onEmpty();
  }

  #show(octets: Buffer): void {
    for (const viewer of this.#viewers) {
      if (viewer.missed > 0 || viewer.pending > streamWindowBytes) viewer.missed += octets.length;
      else this.#send(viewer, octets);
    }
  }

  #send(viewer: Viewer, octets: Buffer): void {
    viewer.pending += octets.length;
    viewer.carrier.send(octets, () => {
      viewer.pending -= octets.length;
      if (viewer.missed === 0 || viewer.pending > streamWindowBytes / 2) return;
      viewer.carrier.send({ type: 'missed', octets: viewer.missed });
      viewer.missed = 0;
    });
  }

  #take(viewer: Viewer, octets: Uint8Array): void {
    if (viewer === this.#writer) {
      const written = viewer.input.add(octets.byteLength);
      this.#connected().then(
        (socket) => socket.write(octets, written),
        (error: unknown) => {
          written();
          viewer.carrier.end(endedBecause('cut', `the guest’s console cannot be written to: ${(error as Error).message}`));
        },
      );
      return;
    }
    if (!viewer.unheard) viewer.carrier.send({ type: 'unheard' });
    viewer.unheard = true;
  }

  #connected(): Promise<Socket> {
    if (this.#socket !== undefined) return this.#socket;
    const connecting = connectGuestSocket(this.#socketPath, connectMs);
    this.#socket = connecting;
    const forget = (): void => {
      if (this.#socket === connecting) this.#socket = undefined;
    };
    connecting.then((socket) => {
      // The log tells what the guest says; here it is only kept from piling up.
      socket.resume();
      socket.on('error', () => socket.destroy());
      socket.on('close', forget);
    }, forget);
    return connecting;
  }

  #disconnect(): void {
    const socket = this.#socket;
    this.#socket = undefined;
    socket?.then(
      (each) => each.end(() => each.destroy()),
      () => {},
    );
  }

  #leave(viewer: Viewer): void {
    if (!this.#viewers.delete(viewer)) return;
    this.#tell({ type: 'said', event: 'left', by: viewer.by });
    if (viewer === this.#writer) {
      // Who has waited longest to write, does.
      this.#writer = [...this.#viewers].find(({ write }) => write !== 'no');
      const next = this.#writer;
      if (next === undefined) this.#disconnect();
      else {
        next.unheard = false;
        next.carrier.send({ type: 'said', event: 'writes', by: next.by, you: true });
        this.#tell({ type: 'said', event: 'writes', by: next.by }, next);
      }
    }
    if (this.#viewers.size > 0) return;
    this.#over = true;
    this.#tail?.close();
    this.#disconnect();
    this.#onEmpty();
  }

  #tell(note: StreamNote, but?: Viewer): void {
    for (const viewer of this.#viewers) if (viewer !== but) viewer.carrier.send(note);
  }
}
