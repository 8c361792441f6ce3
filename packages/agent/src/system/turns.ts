/** Something that one has at a time, in the order in which it was asked for. */
export class Turns {
  #last: Promise<void> = Promise.resolve();

  /** Waits for the turn; the answer ends it, and may be called again. */
  async take(): Promise<() => void> {
    const before = this.#last;
    let end = (): void => {};
    this.#last = new Promise((resolve) => {
      end = resolve;
    });
    await before;
    return end;
  }
}
