import type { Terminal } from '../terminal.js';

export type Tone = 'good' | 'busy' | 'bad' | 'quiet';

const codes: Record<Tone, string> = { good: '32', busy: '33', bad: '31', quiet: '2' };

export type Paint = (tone: Tone | undefined, text: string) => string;

/** Paints when the stream is a terminal and NO_COLOR does not forbid it; otherwise hands the text back. */
export function paintFor(terminal: Terminal, stream: 'stdout' | 'stderr'): Paint {
  const on = (stream === 'stdout' ? terminal.stdoutIsTTY : terminal.stderrIsTTY) && !terminal.environment.noColor;
  return (tone, text) => (on && tone !== undefined ? `\u001b[${codes[tone]}m${text}\u001b[0m` : text);
}

const tones: Readonly<Record<string, Tone>> = {
  active: 'good',
  running: 'good',
  done: 'good',
  pending: 'busy',
  creating: 'busy',
  updating: 'busy',
  deleting: 'busy',
  starting: 'busy',
  stopping: 'busy',
  moving: 'busy',
  paused: 'busy',
  returning: 'busy',
  error: 'bad',
  crashed: 'bad',
  failed: 'bad',
  refused: 'bad',
  returned: 'bad',
  stopped: 'quiet',
};

/** Tone of a word of state; `unknown …` and `unreachable …` are bad news too. */
export function toneOf(word: string): Tone | undefined {
  return tones[word] ?? (/^(unknown|unreachable|no \()/.test(word) ? 'bad' : undefined);
}
