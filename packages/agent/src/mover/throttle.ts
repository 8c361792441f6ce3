/** So much of a second may be spent at once after a rest. */
const burstSeconds = 0.1;
/** A change of the rate is noticed after so long. */
const lookMs = 500;

/** A token bucket whose rate may change at any time; who finds it empty waits. */
export class Throttle {
  readonly #rate: () => number | undefined;
  #tokens = 0;
  #at = performance.now();
  #turn: Promise<void> = Promise.resolve();

  /** `rate`: bytes a second; undefined: there is no limit. */
  constructor(rate: () => number | undefined) {
    this.#rate = rate;
  }

  /** Returns when `bytes` may go. In the order of asking; what is more than the bucket holds is paid for afterwards. */
  async take(bytes: number): Promise<void> {
    const turn = this.#turn.then(async () => await this.#pay(bytes));
    this.#turn = turn;
    await turn;
  }

  async #pay(bytes: number): Promise<void> {
    for (;;) {
      const rate = this.#rate();
      if (rate === undefined) return;
      const now = performance.now();
      this.#tokens = Math.min(this.#tokens + ((now - this.#at) * rate) / 1000, rate * burstSeconds);
      this.#at = now;
      if (this.#tokens >= 0) {
        this.#tokens -= bytes;
        return;
      }
      const ms = (-this.#tokens / rate) * 1000 + 1;
      await new Promise((resolve) => setTimeout(resolve, Math.min(ms, lookMs)));
    }
  }
}
