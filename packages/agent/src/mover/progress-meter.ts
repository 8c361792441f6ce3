import type { MoverNotice } from '../transfer/mover-port.js';
import type { PassProgress } from './sender.js';

const leastMs = 1_000;
/** Weight of the newest second in the rate. */
const newest = 0.4;

/** Turns the bytes of a pass into progress notices, at most one in a second and one at the end of a pass. */
export class ProgressMeter {
  readonly #notify: (notice: MoverNotice) => void;
  #phase = 'copy';
  #pass = -1;
  #at = performance.now();
  #bytes = 0;
  #rate: number | undefined;
  #dirtyBytes: number | undefined;

  constructor(notify: (notice: MoverNotice) => void) {
    this.#notify = notify;
  }

  phase(name: string): void {
    this.#phase = name;
  }

  dirty(bytes: number): void {
    this.#dirtyBytes = bytes;
  }

  /** All of the last pass is there, and this much has changed since. */
  waiting(dirtyBytes: number): void {
    this.#dirtyBytes = dirtyBytes;
    const bytes = Math.max(0, this.#bytes);
    const pass = Math.max(0, this.#pass);
    this.#notify({ type: 'progress', phase: 'waiting', pass, bytes, totalBytes: bytes, bytesPerSecond: 0, etaSeconds: null, dirtyBytes });
  }

  /** True when a notice was sent. */
  report({ pass, doneBytes, totalBytes }: PassProgress): boolean {
    const now = performance.now();
    if (pass !== this.#pass) {
      this.#pass = pass;
      this.#bytes = 0;
      this.#at = Math.min(this.#at, now - 1);
    }
    const ms = now - this.#at;
    if (ms < leastMs && doneBytes < totalBytes) return false;
    const rate = ((doneBytes - this.#bytes) / Math.max(1, ms)) * 1000;
    this.#rate = this.#rate === undefined ? rate : this.#rate * (1 - newest) + rate * newest;
    this.#at = now;
    this.#bytes = doneBytes;
    const bytesPerSecond = Math.round(this.#rate);
    this.#notify({
      type: 'progress',
      phase: this.#phase,
      pass,
      bytes: doneBytes,
      totalBytes,
      bytesPerSecond,
      etaSeconds: bytesPerSecond > 0 ? Math.ceil((totalBytes - doneBytes) / bytesPerSecond) : null,
      ...(this.#dirtyBytes === undefined ? {} : { dirtyBytes: this.#dirtyBytes }),
    });
    return true;
  }
}
