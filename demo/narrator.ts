/** What the demo tells its audience: steps with what came of them, and one line that changes while work goes on. */
export interface Narrator {
  title(text: string): void;
  /** A step begins; it is named when the demo fails in it. */
  begin(step: string): void;
  /** The step in hand, for failures. */
  readonly step: string;
  done(text: string): void;
  note(text: string): void;
  /** Replaces the changing line; on anything but a terminal at most one line in five seconds. */
  live(text: string): void;
}

const quietMs = 5_000;

export function createNarrator(output: { readonly isTTY?: boolean; write(text: string): unknown }): Narrator {
  const begun = performance.now();
  const terminal = output.isTTY === true;
  let step = 'start';
  let shown = false;
  let told = 0;
  const clear = () => {
    if (shown) output.write('\r\u001b[K');
    shown = false;
  };
  const line = (text: string) => {
    clear();
    output.write(`${text}\n`);
  };
  const clock = () => `${((performance.now() - begun) / 1000).toFixed(1).padStart(6)}s`;
  return {
    title: (text) => line(`\n${text}`),
    begin: (text) => {
      step = text;
      if (terminal) {
        clear();
        output.write(`        … ${text}`);
        shown = true;
      }
    },
    get step() {
      return step;
    },
    done: (text) => line(`${clock()} ✓ ${text}`),
    note: (text) => line(`          ${text}`),
    live: (text) => {
      if (terminal) {
        clear();
        output.write(`        … ${text}`.slice(0, 118));
        shown = true;
        return;
      }
      const now = performance.now();
      if (now - told < quietMs) return;
      told = now;
      line(`        … ${text}`);
    },
  };
}

/** 301 MiB, 1.2 GiB. */
export function sizeText(bytes: number): string {
  return bytes < 1024 ** 3 ? `${(bytes / 1024 ** 2).toFixed(bytes < 10 * 1024 ** 2 ? 1 : 0)} MiB` : `${(bytes / 1024 ** 3).toFixed(1)} GiB`;
}

/** 412 ms, 9.3 s. */
export function spanText(ms: number): string {
  return ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`;
}
