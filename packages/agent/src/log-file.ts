import { closeSync, fstatSync, mkdirSync, openSync, renameSync, rmSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';

export interface LogFileLimits {
  /** A file that would become larger is put aside as `….1`, and older ones move up. */
  readonly bytes: number;
  /** How many are kept beside the one that is written. */
  readonly kept: number;
}

const limits: LogFileLimits = { bytes: 8 * 1024 * 1024, kept: 4 };

/**
 * Writes lines to a file and never more than a bounded number of bytes in all. A disk that takes nothing loses lines and not the agent; how
 * many it lost is written as soon as it takes something again.
 */
export function openLogFile(path: string, { bytes: limit, kept }: LogFileLimits = limits): (line: string) => void {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  let file = openSync(path, 'a', 0o600);
  let bytes = fstatSync(file).size;
  let lost = 0;
  const rotate = () => {
    closeSync(file);
    rmSync(`${path}.${kept}`, { force: true });
    for (let age = kept - 1; age >= 0; age -= 1) {
      try {
        renameSync(age === 0 ? path : `${path}.${age}`, `${path}.${age + 1}`);
      } catch {
        // One that is not there yet, or that somebody took away.
      }
    }
    file = openSync(path, 'a', 0o600);
    bytes = fstatSync(file).size;
  };
  return (line) => {
    try {
      if (bytes > 0 && bytes + Buffer.byteLength(line) > limit) rotate();
      const note =
        lost === 0 ? '' : `${JSON.stringify({ time: new Date().toISOString(), level: 'warn', message: 'log lines were lost', lost })}\n`;
      bytes += writeSync(file, `${note}${line}`);
      lost = 0;
    } catch {
      lost += 1;
    }
  };
}
