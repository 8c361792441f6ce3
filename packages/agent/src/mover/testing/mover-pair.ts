import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { silentLog } from '../../log.js';
import { createTestAuthority, type IssuedKey, type TestAuthority } from '../../testing/test-authority.js';
import type { MoverCounters, MoverNotice, ReceiveConfig, SendConfig } from '../../transfer/mover-port.js';
import { type SpawnedMover, spawnMover } from '../spawn.js';

type NoticeType = MoverNotice['type'];
type NoticeOf<Type extends NoticeType> = Extract<MoverNotice, { type: Type }>;

/** A mover in a process of its own, with all it said. */
export class HeardMover {
  readonly notices: MoverNotice[] = [];
  readonly #listeners = new Set<() => void>();
  readonly mover: SpawnedMover;

  constructor(start: (onNotice: (notice: MoverNotice) => void) => SpawnedMover) {
    this.mover = start((notice) => {
      this.notices.push(notice);
      for (const listener of this.#listeners) listener();
    });
  }

  /** The first notice of that type that fits; raises when the mover said its last word without it. */
  async heard<Type extends NoticeType>(type: Type, fits: (notice: NoticeOf<Type>) => boolean = () => true): Promise<NoticeOf<Type>> {
    const find = () => this.notices.find((notice): notice is NoticeOf<Type> => notice.type === type && fits(notice as NoticeOf<Type>));
    return await new Promise((resolve, reject) => {
      const look = () => {
        const found = find();
        const last = this.notices.find((notice) => ['finished', 'failed', 'aborted'].includes(notice.type));
        if (found !== undefined) resolve(found);
        else if (last !== undefined) reject(new Error(`the mover ended with ${JSON.stringify(last)} before it said ${type}`));
        else return;
        this.#listeners.delete(look);
      };
      this.#listeners.add(look);
      look();
    });
  }

  get counters(): MoverCounters | undefined {
    return this.notices.findLast((notice): notice is NoticeOf<'counters'> => notice.type === 'counters');
  }

  /** As the kernel would, out of the blue. */
  async murder(): Promise<void> {
    const { pid } = this.mover;
    if (pid !== undefined) process.kill(pid, 'SIGKILL');
    await this.mover.exited;
  }

  /** Largest resident size so far. */
  peakMiB(): number {
    const status = execFileSync('cat', [`/proc/${this.mover.pid}/status`], { encoding: 'utf8' });
    return Number(/VmHWM:\s+(\d+)/.exec(status)?.[1]) / 1024;
  }
}

/** Two hosts that trust the same control plane, with a folder each. */
export class MoverPair {
  readonly folder: string;
  readonly transferId: string;
  readonly authority: TestAuthority;
  readonly sizes: readonly number[];
  readonly #keys: { readonly alpha: IssuedKey; readonly beta: IssuedKey };
  readonly #movers: HeardMover[] = [];

  private constructor(folder: string, sizes: readonly number[], authority: TestAuthority, keys: { alpha: IssuedKey; beta: IssuedKey }) {
    this.folder = folder;
    this.sizes = sizes;
    this.authority = authority;
    this.#keys = keys;
    this.transferId = 'tra_01hzzzzzzzzzzzzzzzzzzzzzzz';
  }

  static async make(folder: string, sizes: readonly number[]): Promise<MoverPair> {
    const authority = await createTestAuthority();
    const keys = { alpha: await authority.hostKey('alpha'), beta: await authority.hostKey('beta') };
    const pair = new MoverPair(folder, sizes, authority, keys);
    for (const [disk, sizeBytes] of sizes.entries())
      execFileSync('qemu-img', ['create', '-q', '-f', 'qcow2', pair.target(disk), String(sizeBytes)]);
    return pair;
  }

  target(disk: number): string {
    return join(this.folder, `target${disk}.qcow2`);
  }

  credentials(host: 'alpha' | 'beta') {
    return { ...this.#keys[host], ca: this.authority.certificate };
  }

  receiveConfig(change: Partial<ReceiveConfig> = {}): ReceiveConfig {
    return {
      transferId: this.transferId,
      directory: join(this.folder, 'beta'),
      runtimeDirectory: join(this.folder, 'beta-run'),
      credentials: this.credentials('beta'),
      peerName: 'alpha.agents.virt8ra.internal',
      listen: { address: '127.0.0.1' },
      disks: this.sizes.map((sizeBytes, disk) => ({ sizeBytes, file: this.target(disk) })),
      ...change,
    };
  }

  sendConfig(port: number, change: Pick<SendConfig, 'mode' | 'disks'> & Partial<SendConfig>): SendConfig {
    return {
      transferId: this.transferId,
      directory: join(this.folder, 'alpha'),
      credentials: this.credentials('alpha'),
      peer: { name: 'beta.agents.virt8ra.internal', address: '127.0.0.1', port },
      minPasses: 2,
      ...change,
    };
  }

  get runtimeDirectory(): string {
    return join(this.folder, 'alpha-run');
  }

  receive(change: Partial<ReceiveConfig> = {}): HeardMover {
    return this.#keep((onNotice) => spawnMover({ type: 'receive', config: this.receiveConfig(change) }, onNotice, silentLog));
  }

  send(port: number, change: Pick<SendConfig, 'mode' | 'disks'> & Partial<SendConfig>): HeardMover {
    return this.#keep((onNotice) => spawnMover({ type: 'send', config: this.sendConfig(port, change) }, onNotice, silentLog));
  }

  #keep(start: (onNotice: (notice: MoverNotice) => void) => SpawnedMover): HeardMover {
    const heard = new HeardMover(start);
    this.#movers.push(heard);
    return heard;
  }

  async destroy(): Promise<void> {
    await Promise.all(this.#movers.map(async ({ mover }) => await mover.kill()));
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** SHA-256 of what a guest would read from an image. */
export function contentDigest(image: string): string {
  const raw = `${image}.raw`;
  execFileSync('qemu-img', ['convert', '-U', '-f', 'qcow2', '-O', 'raw', image, raw]);
  const digest = execFileSync('sha256sum', [raw], { encoding: 'utf8' }).slice(0, 64);
  rmSync(raw);
  return digest;
}

/** Bytes that repeat nowhere, the same for the same seed. */
export function seededBytes(seed: string, length: number): Buffer {
  const bytes = Buffer.alloc(length);
  for (let at = 0; at < length; at += 4096) {
    const block = createHash('sha512').update(`${seed} ${at}`).digest();
    for (let inner = at; inner < Math.min(length, at + 4096); inner += 64) block.copy(bytes, inner);
  }
  return bytes;
}
