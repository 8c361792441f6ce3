import type { Progress } from '../link/outbox.js';
import { enoughCarried } from '../mover/carry-meter.js';
import type { CopyProgress } from './source.js';

/** Seconds over which the rate is averaged. */
const windowMs = 3_000;

/** Turns what a hypervisor says of its copying into progress with rate and time left, and keeps count over both phases. */
export class CopyMeter {
  readonly #marks: { readonly at: number; readonly bytes: number }[] = [];
  #phase: CopyProgress['phase'] = 'copy';
  #copied = 0;
  #done = 0;
  #carriedMs = 0;

  /** Bytes in all, disks and memory. */
  get bytes(): number {
    return this.#copied + this.#done;
  }

  /** Memory alone: of disks it is not known how much of what is copied went over the wire. */
  get carried(): { readonly bytes: number; readonly seconds: number } | undefined {
    return this.#phase === 'memory' ? enoughCarried(this.#done, this.#carriedMs) : undefined;
  }

  measure({ phase, doneBytes, totalBytes, carriedMs }: CopyProgress): Omit<Progress, 'transferId'> {
    if (phase !== this.#phase) {
      this.#copied += this.#done;
      this.#phase = phase;
      this.#marks.length = 0;
    }
    this.#done = doneBytes;
    this.#carriedMs = carriedMs ?? 0;
    const now = performance.now();
    this.#marks.push({ at: now, bytes: doneBytes });
    while ((this.#marks[0]?.at ?? now) < now - windowMs) this.#marks.shift();
    const first = this.#marks[0];
    const seconds = first === undefined ? 0 : (now - first.at) / 1000;
    const bytesPerSecond = first === undefined || seconds < 0.05 ? 0 : Math.max(0, (doneBytes - first.bytes) / seconds);
    const left = Math.max(0, totalBytes - doneBytes);
    return {
      phase,
      pass: 0,
      bytes: doneBytes,
      totalBytes: Math.max(totalBytes, doneBytes),
      bytesPerSecond,
      etaSeconds: bytesPerSecond === 0 ? null : left / bytesPerSecond,
    };
  }
}
