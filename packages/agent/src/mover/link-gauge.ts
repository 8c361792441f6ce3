/** What is older counts half after so long of carrying. */
const halfMs = 1_500;
/** Less tells nothing. */
const least = { ms: 30, bytes: 256 * 1024 } as const;

/** What a link lets through while something is on its way, over the last moments. */
export class LinkGauge {
  readonly #now: () => number;
  #flying = 0;
  #since = 0;
  #bytes = 0;
  #ms = 0;
  #known = false;

  constructor(now = () => performance.now()) {
    this.#now = now;
  }

  begin(): void {
    if (this.#flying === 0) this.#since = this.#now();
    this.#flying += 1;
  }

  /** Something that began has arrived. */
  end(bytes: number): void {
    this.#settle();
    this.#flying -= 1;
    this.#bytes += bytes;
    if (this.#ms < halfMs) return;
    this.#ms /= 2;
    this.#bytes /= 2;
  }

  /** Undefined while it is too little to say anything. */
  get bytesPerMs(): number | undefined {
    this.#settle();
    this.#known ||= this.#ms >= least.ms && this.#bytes >= least.bytes;
    return this.#known ? this.#bytes / this.#ms : undefined;
  }

  #settle(): void {
    if (this.#flying === 0) return;
    const now = this.#now();
    this.#ms += now - this.#since;
    this.#since = now;
  }
}
