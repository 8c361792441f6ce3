import { constants } from 'node:fs';
import { type FileHandle, mkdir, open, readdir, rm, stat, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { Problem } from '@virt8ra/contract';
import { errorCode, readText, syncDirectory, writeFileAtomic } from '../files/atomic-file.js';
import { lockFile } from '../files/file-lock.js';

/** What is to arrive under a key. */
export interface Expectation {
  readonly sha256: string;
  /** Undefined until the source says it. */
  readonly sizeBytes?: number;
  /** What the source calls this version of it: an entity tag, or else when it was changed last. */
  readonly validator?: string;
}

export interface Received {
  /** Octets that are durable: where the next ones continue. */
  readonly offset: number;
  readonly sizeBytes: number | undefined;
  readonly complete: boolean;
}

interface Session extends Expectation {
  /** Set when a source without a length has ended. */
  readonly ended?: boolean;
}

/** Disk kept free whatever arrives. */
const reserveBytes = 512e6;
const syncEveryBytes = 32 * 1024 * 1024;
const offsetDigits = 20;

/**
 * Content on its way in: `incoming/KEY/{session.json, content, offset}`. `offset` says how much of `content` is durable; what lies
 * beyond it after a crash may be torn and is cut off.
 */
export class Incoming {
  readonly #root: string;
  readonly #maxBytes: number;

  constructor(root: string, maxBytes: number) {
    this.#root = root;
    this.#maxBytes = maxBytes;
  }

  /**
   * Begins, or goes on when the same was expected before; something else starts anew. Raises `too-large` beyond the limit, `exhausted`
   * when the disk does not hold it.
   */
  async begin(key: string, expected: Expectation): Promise<Received> {
    const { sha256, sizeBytes } = expected;
    if (sizeBytes !== undefined && sizeBytes > this.#maxBytes) {
      throw new Problem(
        'too-large',
        `the image has ${sizeBytes} bytes, more than the ${this.#maxBytes} this control plane accepts (artifacts.maxImageGB)`,
      );
    }
    const session = await this.#session(key);
    const same =
      session?.sha256 === sha256 && (sizeBytes === undefined || session.sizeBytes === undefined || session.sizeBytes === sizeBytes);
    if (session !== undefined && !same) await this.discard(key);
    const offset = same ? await this.#offset(key) : 0;
    await this.assertRoom(key, sizeBytes === undefined ? 1 : sizeBytes - offset);
    await mkdir(this.directory(key), { recursive: true, mode: 0o700 });
    await this.#write(key, { ...(same ? session : {}), ...expected });
    await syncDirectory(this.#root);
    return await this.#stateOf(key);
  }

  /** Undefined when nothing was begun. */
  async received(key: string): Promise<Received | undefined> {
    return (await this.#session(key)) === undefined ? undefined : await this.#stateOf(key);
  }

  /**
   * Appends what comes, durably, and answers how far it came. When `content` breaks, what had come is kept and the break is raised.
   * Raises `not-found` before `begin`, `conflict` when `offset` is not where it continues or someone else is at it, `too-large` when
   * more comes than was announced, `exhausted` when the disk is full.
   */
  async append(key: string, offset: number, content: AsyncIterable<Uint8Array>, onProgress?: (offset: number) => void): Promise<Received> {
    const session = await this.#session(key);
    if (session === undefined) throw new Problem('not-found', 'no content is awaited here');
    const lock = await lockFile(join(this.directory(key), 'lock'), 'exclusive', { wait: false });
    if (lock === undefined) throw new Problem('conflict', 'the content is being sent by another request', { retryAfterSeconds: 1 });
    try {
      const durable = await this.#offset(key);
      if (offset !== durable)
        throw new Problem('conflict', `the content continues at ${durable}, not at ${offset}`, { facts: { offset: durable } });
      await this.#receive(key, durable, session.sizeBytes, content, onProgress);
    } finally {
      await lock.release();
    }
    return await this.#stateOf(key);
  }

  /** For a source that did not say how long it is: it was this long. */
  async end(key: string): Promise<Received> {
    const session = await this.#session(key);
    if (session === undefined) throw new Problem('not-found', 'no content is awaited here');
    await this.#write(key, { ...session, sizeBytes: await this.#offset(key), ended: true });
    return await this.#stateOf(key);
  }

  /** Throws away what has come, but not what is expected. */
  async restart(key: string): Promise<void> {
    await rm(join(this.directory(key), 'offset'), { force: true });
    await rm(this.contentPath(key), { force: true });
    await syncDirectory(this.directory(key));
  }

  async discard(key: string): Promise<void> {
    await rm(this.directory(key), { recursive: true, force: true });
  }

  async keys(): Promise<readonly string[]> {
    return await readdir(this.#root);
  }

  /** Milliseconds of the last change under the key. */
  async changedAt(key: string): Promise<number> {
    const times = await Promise.all(
      [this.directory(key), join(this.directory(key), 'offset')].map(
        async (path) => (await stat(path).catch(() => undefined))?.mtimeMs ?? 0,
      ),
    );
    return Math.max(...times);
  }

  directory(key: string): string {
    // Keys come from our own ids, but a path made of text is checked all the same.
    if (!/^[a-z0-9][a-z0-9_-]{0,127}$/.test(key)) throw new Problem('internal', 'this key cannot name a directory');
    return join(this.#root, key);
  }

  contentPath(key: string): string {
    return join(this.directory(key), 'content');
  }

  /** A directory for a key that nothing arrives under. */
  async reserve(key: string): Promise<void> {
    await mkdir(this.directory(key), { recursive: true, mode: 0o700 });
  }

  /** Bytes that may still be written under a key. */
  async room(key: string): Promise<number> {
    const { free, promised } = await this.#space(key);
    return Math.max(0, free - promised);
  }

  async expectation(key: string): Promise<Expectation | undefined> {
    return await this.#session(key);
  }

  async #receive(
    key: string,
    start: number,
    sizeBytes: number | undefined,
    content: AsyncIterable<Uint8Array>,
    onProgress: ((offset: number) => void) | undefined,
  ): Promise<void> {
    const limit = sizeBytes ?? this.#maxBytes;
    // Readable by all within a closed directory: the checker without privileges is handed the open file.
    const file = await open(this.contentPath(key), constants.O_RDWR | constants.O_CREAT, 0o644);
    await file.chmod(0o644);
    const mark = await open(join(this.directory(key), 'offset'), constants.O_RDWR | constants.O_CREAT, 0o600);
    let at = start;
    let synced = start;
    const persist = async (): Promise<void> => {
      if (at === synced) return;
      await file.datasync();
      await mark.write(String(at).padStart(offsetDigits, '0'), 0);
      await mark.datasync();
      synced = at;
    };
    try {
      await file.truncate(start);
      await syncDirectory(this.directory(key));
      try {
        for await (const chunk of content) {
          if (at + chunk.length > limit) throw new Problem('too-large', `more content came than the ${limit} bytes announced`);
          await writeAll(file, chunk, at);
          at += chunk.length;
          if (at - synced >= syncEveryBytes) {
            await persist();
            await this.assertRoom(key, (sizeBytes ?? at + 1) - at);
          }
          onProgress?.(at);
        }
      } finally {
        await persist();
      }
    } catch (error) {
      if (errorCode(error) === 'ENOSPC' || errorCode(error) === 'EDQUOT')
        throw new Problem('exhausted', 'the artifact store’s disk is full', { cause: error });
      throw error;
    } finally {
      await file.close();
      await mark.close();
    }
  }

  async #stateOf(key: string): Promise<Received> {
    const session = await this.#session(key);
    const offset = await this.#offset(key);
    const sizeBytes = session?.sizeBytes;
    return { offset, sizeBytes, complete: sizeBytes !== undefined && offset === sizeBytes };
  }

  async #session(key: string): Promise<Session | undefined> {
    const text = await readText(join(this.directory(key), 'session.json'));
    return text === undefined ? undefined : (JSON.parse(text) as Session);
  }

  async #write(key: string, session: Session): Promise<void> {
    await writeFileAtomic(join(this.directory(key), 'session.json'), JSON.stringify(session));
  }

  async #offset(key: string): Promise<number> {
    const text = await readText(join(this.directory(key), 'offset'));
    return text?.length === offsetDigits ? Number(text) : 0;
  }

  /** Raises `exhausted` when the disk does not hold so much more. */
  async assertRoom(key: string, neededBytes: number): Promise<void> {
    const { free, promised } = await this.#space(key);
    if (neededBytes === 0 || neededBytes + promised <= free) return;
    throw new Problem(
      'exhausted',
      `the artifact store has ${Math.max(0, free)} bytes free (${promised} promised to other imports), and the image needs ${neededBytes} more`,
      { facts: { freeBytes: free, promisedBytes: promised, neededBytes } },
    );
  }

  /** All that was announced counts, not only what has come, so that two uploads cannot each be promised the same free space. */
  async #space(key: string): Promise<{ readonly free: number; readonly promised: number }> {
    const { bavail, bsize } = await statfs(this.#root);
    let promised = 0;
    for (const other of await this.keys()) {
      if (other === key) continue;
      const state = await this.#stateOf(other).catch(() => undefined);
      if (state?.sizeBytes !== undefined) promised += state.sizeBytes - state.offset;
    }
    return { free: bavail * bsize - reserveBytes, promised };
  }
}

async function writeAll(file: FileHandle, chunk: Uint8Array, position: number): Promise<void> {
  let done = 0;
  while (done < chunk.length) {
    const { bytesWritten } = await file.write(chunk, done, chunk.length - done, position + done);
    done += bytesWritten;
  }
}
