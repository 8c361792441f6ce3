import { Problem, toProblem } from '@virt8ra/contract/plain';
import type { Log } from '../log.js';
import { BufferPool } from './buffer-pool.js';
import { CarryMeter } from './carry-meter.js';
import { ChunkFeed } from './chunk-feed.js';
import { chunkBytes, chunkLength } from './chunks.js';
import { Compression } from './compression.js';
import type { PageStore } from './digest-table.js';
import { LinkGauge } from './link-gauge.js';
import type { MoverTls } from './peer.js';
import { scratchPages } from './scratch-pages.js';
import type { SendLedger } from './send-ledger.js';
import { addLost, need, planPass, type SendPlan, type SourceDisk, trimPlan } from './send-plan.js';
import { hurried, patient, SendSession } from './send-session.js';
import { chunkFrame, contentOffset } from './wire.js';

export interface SenderOptions {
  readonly transferId: string;
  readonly sizes: readonly number[];
  /** Folder for what memory has no room for. */
  readonly directory: string;
  readonly connect: { readonly host: string; readonly port: number };
  readonly tls: MoverTls;
  /** DNS name that the receiver's certificate must carry. */
  readonly peerName: string;
  readonly ledger: SendLedger;
  readonly streams: number;
  /** How long a lost connection is made anew before the transfer gives up. */
  readonly reconnectMs: number;
  readonly log: Log;
  readonly signal: AbortSignal;
  /** Heard whenever a chunk was dealt with. */
  readonly onProgress?: (progress: PassProgress) => void;
  readonly onPassEnd?: () => void;
}

/** Content bytes of the pass under way. `doneBytes`: sent or found to be at the receiver already. */
export interface PassProgress {
  readonly pass: number;
  readonly doneBytes: number;
  readonly totalBytes: number;
}

export interface PassResult {
  readonly sentBytes: number;
  readonly totalBytes: number;
  readonly ms: number;
}

const readAhead = 3;
const pauseMs = 100;

/** The sending end of a transfer, over as many connections in turn as it takes. */
export class Sender {
  readonly #options: SenderOptions;
  readonly #pool: BufferPool;
  /** For each disk, what the receiver holds. */
  readonly #pages: readonly PageStore[];
  #session: SendSession | undefined;
  readonly carrying = new CarryMeter();
  readonly #gauge = new LinkGauge();
  readonly #compression = new Compression(this.#gauge);
  /** Octets of content as they went over the wire, in this process. */
  wireBytes = 0;
  #acknowledged = 0;
  #patience = patient;
  #closed = false;

  constructor(options: SenderOptions) {
    this.#options = options;
    this.#pages = options.sizes.map(() => scratchPages(options.directory));
    this.#pool = new BufferPool(options.streams + readAhead, contentOffset + chunkBytes);
  }

  /**
   * The number that the next pass of a fresh start must have at least. Connects. Raises what connecting raises, after trying for
   * `reconnectMs`.
   */
  async firstPass(): Promise<number> {
    const { ledger } = this.#options;
    return await this.#withSession((session) => Promise.resolve(Math.max(session.welcome.pass, ledger.pass)));
  }

  /**
   * Sends what changed up to a frozen point and returns when it is durable at the receiver. Lost connections are made anew. Raises Problem
   * unavailable when the receiver stays away, exhausted when its disk is full, conflict or forbidden when it refuses, or what the source raised.
   */
  async sendPass(pass: number, disks: readonly SourceDisk[]): Promise<PassResult> {
    const { ledger } = this.#options;
    const begin = performance.now();
    const sentBefore = ledger.bytes;
    ledger.beginPass(pass);
    const plans: SendPlan[] = [];
    for (const [disk, table] of ledger.tables.entries()) {
      const source = disks[disk];
      if (source === undefined || source.client.sizeBytes !== table.sizeBytes)
        throw new Problem('conflict', `disk ${disk} of the transfer has another size than it had`);
      plans.push(await planPass(source, table));
    }
    const sent = ledger.tables.map(({ count }) => new Uint8Array(count));
    const progress = { doneBytes: 0, totalBytes: 0 };
    await this.#withSession(async (session) => {
      let left = 0;
      for (const [disk, plan] of plans.entries()) {
        const held = session.held[disk];
        const marks = sent[disk];
        const table = ledger.tables[disk];
        if (held === undefined || marks === undefined || table === undefined) continue;
        if (!session.compared) addLost(plan, marks, table, held);
        left += trimPlan(plan, marks, disk, ledger, held);
      }
      session.compared = true;
      progress.totalBytes = progress.doneBytes + left;
      await this.#sendChunks(session, pass, disks, plans, sent, progress);
      await session.endPass(pass);
    });
    ledger.endPass();
    this.#options.onPassEnd?.();
    const result = { sentBytes: ledger.bytes - sentBefore, totalBytes: progress.totalBytes, ms: performance.now() - begin };
    this.#options.log.info('a pass is durable at the receiver', { pass, ...result });
    return result;
  }

  /** Compares root digests with the receiver and closes the transfer. Everything known must be durable there. */
  async complete(): Promise<readonly string[]> {
    const roots = this.#options.ledger.tables.map((table) => table.root());
    const known = roots.filter((root) => root !== undefined);
    if (known.length !== roots.length) throw new Problem('internal', 'the transfer cannot end: not every chunk was sent');
    await this.#withSession(async (session) => {
      const { complete } = session.welcome;
      if (complete !== undefined && complete.join() !== known.join())
        throw new Problem('conflict', 'the receiver has this transfer as complete with other content');
      await session.complete(known);
    });
    return known;
  }

  /** Lets the receiver go. Say it when the outcome of `complete` is written down: after it the receiver cannot be asked again. */
  async sayGoodbye(): Promise<void> {
    await this.#session?.sayGoodbye();
  }

  /** From now on the guest waits: a receiver that is away or silent is given up within seconds. */
  hurry(): void {
    this.#patience = hurried;
    if (this.#session !== undefined) this.#session.patience = hurried;
  }

  close(): void {
    this.#closed = true;
    this.#session?.close();
    this.#session = undefined;
    for (const pages of this.#pages) pages.close();
  }

  async #sendChunks(
    session: SendSession,
    pass: number,
    disks: readonly SourceDisk[],
    plans: readonly SendPlan[],
    sent: readonly Uint8Array[],
    progress: { doneBytes: number; totalBytes: number },
  ): Promise<void> {
    const { ledger, onProgress } = this.#options;
    const report = (contentBytes: number) => {
      progress.doneBytes += contentBytes;
      onProgress?.({ pass, ...progress });
    };
    const packing = session.welcome.codecs?.includes('brotli') === true ? { compression: this.#compression } : {};
    const feed = new ChunkFeed({ disks, plans, sent, ledger, session, pool: this.#pool, onSkip: report, ...packing });
    const work = async (stream: number) => {
      for (let chunk = await feed.next(); chunk !== undefined; chunk = await feed.next()) {
        const { disk, index, digest, contentBytes, diskBytes } = chunk;
        let arrived = 0;
        this.#gauge.begin();
        try {
          ledger.sending(disk, index, diskBytes);
          const place = { disk, pass, index };
          await session.sendChunk(stream, chunkFrame(chunk.buffer, { ...place, codec: chunk.codec, digest }, contentBytes), place);
          this.#acknowledged += 1;
          arrived = contentBytes;
          this.wireBytes += contentBytes;
          this.carrying.add(contentBytes);
          ledger.held(disk, index, digest);
          session.held[disk]?.set(index, digest);
          sent[disk]?.fill(1, index, index + 1);
        } finally {
          this.#gauge.end(arrived);
          feed.done(chunk);
        }
        const read = plans[disk]?.[index] === need.content;
        report(read ? chunkLength(ledger.tables[disk]?.sizeBytes ?? 0, index) : 0);
      }
    };
    this.carrying.begin();
    const works = Array.from({ length: session.streams }, async (_, stream) => {
      try {
        await work(stream);
      } catch (error) {
        session.fail(toProblem(error));
        await feed.stop(error);
        throw error;
      }
    });
    const results = await Promise.allSettled(works);
    this.carrying.end();
    const failed = results.find((result) => result.status === 'rejected');
    if (failed !== undefined) {
      await feed.stop(failed.reason);
      throw failed.reason;
    }
  }

  /** Runs work on a session; when the connection is lost, on a new one, for as long as connections come about. */
  async #withSession<Result>(work: (session: SendSession) => Promise<Result>): Promise<Result> {
    const { connect, log, signal } = this.#options;
    const reconnectMs = this.#patience === hurried ? hurried.connectMs : this.#options.reconnectMs;
    let giveUp = performance.now() + reconnectMs;
    for (;;) {
      const acknowledged = this.#acknowledged;
      let session = this.#session;
      try {
        if (session === undefined || session.failure !== undefined) {
          session = await SendSession.connect({ ...this.#options, ...connect, patience: this.#patience, pages: this.#pages });
          this.#session = session;
          if (this.#closed) throw session.fail(new Problem('cancelled', 'the sender was closed meanwhile'));
        }
        return await work(session);
      } catch (error) {
        const problem = toProblem(error);
        const lost = session === undefined || session.failure !== undefined;
        session?.close();
        // A connection counts as made anew when it got something done.
        if (this.#acknowledged > acknowledged) giveUp = performance.now() + reconnectMs;
        if (signal.aborted) throw new Problem('cancelled', 'the transfer was cancelled', { cause: error });
        if (!lost || this.#closed || problem.kind !== 'unavailable' || performance.now() > giveUp) throw problem;
        log.info('the connection with the receiver is made anew', { problem: problem.message });
        await new Promise((resolve) => setTimeout(resolve, pauseMs));
      }
    }
  }
}
