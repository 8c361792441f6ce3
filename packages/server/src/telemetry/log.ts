import { maskSecrets, secretNames } from '@virt8ra/contract';
import type { Log } from '@virt8ra/engine';
import { pino } from 'pino';
import type { LogLevel } from '../config.js';

const deepest = 6;
const longestText = 4_000;

/** JSON lines; `write` gets each whole. Secrets are masked by the name they stand under and by what they look like. */
export function createLog(write: (line: string) => void, level: LogLevel): Log {
  const logger = pino(
    {
      level,
      base: null,
      messageKey: 'message',
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    { write },
  );
  const line = (at: LogLevel) => (message: string, facts?: object) => {
    if (!logger.isLevelEnabled(at)) return;
    logger[at](facts === undefined ? {} : masked(facts, 0), message);
  };
  return { debug: line('debug'), info: line('info'), warn: line('warn'), error: line('error') };
}

export function maskText(text: string): string {
  return maskSecrets(text.length > longestText ? `${text.slice(0, longestText)}…` : text);
}

function masked(value: object, depth: number): object {
  if (value instanceof Error) return maskedError(value, depth);
  if (Array.isArray(value)) return value.slice(0, 100).map((item: unknown) => maskedValue(item, depth + 1));
  return Object.fromEntries(
    Object.entries(value).map(([name, member]) => [
      name,
      secretNames.test(name) && member !== undefined ? '[secret]' : maskedValue(member, depth + 1),
    ]),
  );
}

function maskedValue(value: unknown, depth: number): unknown {
  switch (typeof value) {
    case 'string':
      return maskText(value);
    case 'bigint':
      return value.toString();
    case 'function':
    case 'symbol':
      return undefined;
    case 'object':
      if (value === null || value instanceof Date) return value;
      if (ArrayBuffer.isView(value)) return `[${value.byteLength} bytes]`;
      return depth > deepest ? '[…]' : masked(value, depth);
    default:
      return value;
  }
}

/** Stack and cause too: someone must find the place. */
function maskedError(error: Error, depth: number): object {
  const { kind, code, facts } = error as { kind?: unknown; code?: unknown; facts?: unknown };
  return {
    message: maskText(error.message),
    ...(typeof kind === 'string' ? { kind } : {}),
    ...(typeof code === 'string' ? { code } : {}),
    ...(typeof facts === 'object' && facts !== null && depth < deepest ? { facts: masked(facts, depth + 1) } : {}),
    stack: maskText(error.stack ?? ''),
    ...(error.cause === undefined || depth >= deepest ? {} : { cause: maskedValue(error.cause, depth + 1) }),
  };
}
