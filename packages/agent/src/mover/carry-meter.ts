/** Less tells of latency and of chance rather than of the path. */
const least = { bytes: 1024 * 1024, seconds: 0.05 } as const;

/** What was carried to the peer, and for how long it was being carried; pauses do not count. */
export class CarryMeter {
  #bytes = 0;
  #ms = 0;
  #since: number | undefined;

  begin(): void {
    this.#since ??= performance.now();
  }

  add(bytes: number): void {
    this.#bytes += bytes;
  }

  end(): void {
    if (this.#since !== undefined) this.#ms += performance.now() - this.#since;
    this.#since = undefined;
  }

  /** Undefined while it is too little to say anything. */
  get carried(): { readonly bytes: number; readonly seconds: number } | undefined {
    const ms = this.#ms + (this.#since === undefined ? 0 : performance.now() - this.#since);
    return enoughCarried(this.#bytes, ms);
  }
}

/** The same of what somebody else counted. */
export function enoughCarried(bytes: number, ms: number): { readonly bytes: number; readonly seconds: number } | undefined {
  const seconds = Math.round(ms) / 1000;
  return bytes < least.bytes || seconds < least.seconds ? undefined : { bytes, seconds };
}
