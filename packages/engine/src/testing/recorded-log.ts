import type { Log } from '../log.js';

export interface RecordedLog extends Log {
  readonly lines: readonly { readonly level: keyof Log; readonly message: string; readonly facts: object | undefined }[];
}

/** A log that keeps what it is told, for tests that look at it or want silence. */
export function createRecordedLog(): RecordedLog {
  const lines: RecordedLog['lines'][number][] = [];
  const at = (level: keyof Log) => (message: string, facts?: object) => {
    lines.push({ level, message, facts });
  };
  return { lines, debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') };
}
