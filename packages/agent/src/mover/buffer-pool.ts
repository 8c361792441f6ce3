/** A fixed number of equal buffers; who finds none waits. This is what bounds a mover's memory. */
export class BufferPool {
  readonly #free: Buffer[] = [];
  readonly #waiting: ((buffer: Buffer) => void)[] = [];

  constructor(count: number, bytes: number) {
    for (let made = 0; made < count; made += 1) this.#free.push(Buffer.allocUnsafeSlow(bytes));
  }

  tryTake(): Buffer | undefined {
    return this.#free.pop();
  }

  async take(): Promise<Buffer> {
    const buffer = this.#free.pop();
    if (buffer !== undefined) return buffer;
    return await new Promise((resolve) => this.#waiting.push(resolve));
  }

  give(buffer: Buffer): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#free.push(buffer);
    else next(buffer);
  }
}
