/** Structured log: constant messages, facts beside them, never secrets. */
export interface Log {
  debug(message: string, facts?: object): void;
  info(message: string, facts?: object): void;
  warn(message: string, facts?: object): void;
  error(message: string, facts?: object): void;
}

export const logLevels = ['debug', 'info', 'warn', 'error'] as const;
export type LogLevel = (typeof logLevels)[number];

/** One JSON object per line to `write`; lines below `level` are dropped. `fixed` facts stand on every line. */
export function createLog(write: (line: string) => void, level: LogLevel = 'info', fixed: object = {}): Log {
  const least = logLevels.indexOf(level);
  const line =
    (of: LogLevel) =>
    (message: string, facts: object = {}) => {
      if (logLevels.indexOf(of) < least) return;
      write(`${JSON.stringify({ time: new Date().toISOString(), level: of, message, ...fixed, ...facts })}\n`);
    };
  return { debug: line('debug'), info: line('info'), warn: line('warn'), error: line('error') };
}

/** For tests and for parts that run without anyone listening. */
export const silentLog: Log = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };
