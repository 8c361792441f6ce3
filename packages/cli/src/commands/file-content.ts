import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { Problem, type Progress } from '@virt8ra/contract';
import type { LiveLine } from '../output/live-line.js';
import type { Session, Target } from '../session.js';
import type { Terminal } from '../terminal.js';

/** Bytes of a file that is to be sent. Raises `invalid-request` when it cannot be read or is empty. */
export async function sizeOfFile(path: string): Promise<number> {
  const { size } = await stat(path).catch((cause: unknown) => {
    throw new Problem('invalid-request', `cannot read ${path}: ${(cause as Error).message}`, { cause });
  });
  if (size === 0) throw new Problem('invalid-request', `${path} is empty`);
  return size;
}

/** SHA-256 of a file, with progress. */
export async function digestOfFile(terminal: Terminal, path: string, sizeBytes: number, line: LiveLine): Promise<string> {
  const hash = createHash('sha256');
  const startedAt = terminal.now();
  let bytes = 0;
  for await (const chunk of createReadStream(path, { highWaterMark: 1024 * 1024, signal: terminal.signal })) {
    hash.update(chunk as Buffer);
    bytes += (chunk as Buffer).length;
    line.show(measured('digest', bytes, sizeBytes, startedAt, terminal.now()));
  }
  return hash.digest('hex');
}

/** Sends a file as the content of a resource, from where an earlier attempt was cut, with progress. */
export async function sendFile(session: Session, { kind, address }: Target, path: string, line: LiveLine): Promise<void> {
  const { terminal } = session;
  const sizeBytes = await sizeOfFile(path);
  const startedAt = terminal.now();
  let first: number | undefined;
  await session.patientClient.upload(
    address,
    { sizeBytes, read: (start, end) => createReadStream(path, { start, end: end - 1, highWaterMark: 256 * 1024 }) },
    {
      kind,
      signal: terminal.signal,
      onProgress: (sent) => {
        first ??= sent;
        line.show(measured('upload', sent, sizeBytes, startedAt, terminal.now(), first));
      },
    },
  );
}

/** Progress of work done here: the rate is that since its start, without what earlier attempts did. */
export function measured(
  phase: string,
  bytes: number,
  totalBytes: number,
  startedAt: number | undefined,
  now: number,
  before = 0,
): Progress {
  const seconds = startedAt === undefined ? 0 : (now - startedAt) / 1000;
  const bytesPerSecond = seconds > 0 ? (bytes - before) / seconds : 0;
  const etaSeconds = bytesPerSecond > 0 ? (totalBytes - bytes) / bytesPerSecond : null;
  return { phase, bytes, totalBytes, bytesPerSecond, etaSeconds, updatedAt: new Date(now).toISOString() };
}
