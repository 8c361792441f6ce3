import type { PassCommands } from './passes.js';

/** The orders to a mover, as they come in. */
export class Orders implements PassCommands {
  readonly #controller = new AbortController();
  #finishing = false;
  #holding = false;
  #aborting = false;
  #wake: () => void = () => {};

  get finishing(): boolean {
    return this.#finishing;
  }

  get holding(): boolean {
    return this.#holding;
  }

  get aborting(): boolean {
    return this.#aborting;
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  finish(): void {
    this.#finishing = true;
    this.#wake();
  }

  hold(holding: boolean): void {
    this.#holding = holding;
    this.#wake();
  }

  /** Stop and leave no trace. */
  abort(): void {
    this.#aborting = true;
    this.stop();
  }

  /** Stop in order; another mover goes on later. */
  stop(): void {
    this.#controller.abort();
    this.#wake();
  }

  async wait(ms: number): Promise<void> {
    if (this.#finishing || this.signal.aborted) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}
