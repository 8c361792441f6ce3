import type { Progress } from '@virt8ra/contract';
import type { Terminal } from '../terminal.js';
import { progressText } from './progress-text.js';

/** Progress on standard error: one line that is redrawn on a terminal, single lines from time to time elsewhere. */
export interface LiveLine {
  show(progress: Progress): void;
  /** A line that stays, above the live one. */
  note(text: string): void;
  /** Takes the live line away. */
  end(): void;
}

/** Elsewhere than on a terminal a line is printed at each change of phase or pass, and at most this often in between. */
const quietMs = 5000;

export function createLiveLine(terminal: Terminal): LiveLine {
  const live = terminal.stderrIsTTY;
  let drawn = false;
  let last: { readonly step: string; readonly at: number } | undefined;

  const erase = () => {
    if (drawn) terminal.err('\r\u001b[K');
    drawn = false;
  };
  return {
    show(progress) {
      if (live) {
        const room = (terminal.columns ?? 80) - 1;
        terminal.err(`\r\u001b[K${progressText(progress).slice(0, room)}`);
        drawn = true;
        return;
      }
      const step = `${progress.phase}/${progress.pass ?? ''}`;
      const now = terminal.now();
      if (last !== undefined && last.step === step && now - last.at < quietMs) return;
      last = { step, at: now };
      terminal.err(`${progressText(progress)}\n`);
    },
    note(text) {
      erase();
      terminal.err(`${text}\n`);
    },
    end: erase,
  };
}
