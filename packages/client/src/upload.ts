import { type Address, imageImport, type Kind, Problem } from '@virt8ra/contract';
import { faultOf } from './exchange.js';
import { pathOf } from './path.js';
import { pauseMs, rest, type Transport } from './transport.js';

/** What is sent: `read` gives the octets of `[start, end)` and may be called again after a cut. */
export interface UploadSource {
  readonly sizeBytes: number;
  read(start: number, end: number): AsyncIterable<Uint8Array>;
}

export interface UploadOptions {
  /** Whose content it is. Default image import. */
  readonly kind?: Kind;
  readonly signal?: AbortSignal | undefined;
  /** Octets handed to the network so far, those of earlier attempts included. */
  readonly onProgress?: (sentBytes: number) => void;
  /** Seconds without a step forward after which it gives up. Default 120. */
  readonly patienceSeconds?: number;
}

/** Bounds what a cut can cost with a server that keeps a PATCH only when it was whole. */
const segmentBytes = 64 * 1024 * 1024;

/**
 * Sends the content of a resource, from where an earlier attempt stopped. A cut is healed: the server is asked how far it came.
 * Raises the server's problem when it refuses.
 */
export async function uploadContent(
  transport: Transport,
  address: Address,
  source: UploadSource,
  options: UploadOptions = {},
): Promise<void> {
  const { kind = imageImport } = options;
  const path = `${pathOf(kind, address)}/content`;
  const patienceMs = (options.patienceSeconds ?? 120) * 1000;

  const offset = async (): Promise<number> => {
    const answer = await transport.call({ method: 'HEAD', path, signal: options.signal });
    const value = Number(answer.headers['upload-offset']);
    if (!Number.isSafeInteger(value) || value < 0) {
      throw new Problem('internal', `the server did not say how much of ${kind.kind} ${address.name} has arrived`);
    }
    return value;
  };

  let at = await offset();
  let reached = at;
  let deadline = Date.now() + patienceMs;
  let attempt = 0;
  while (at < source.sizeBytes) {
    const start = at;
    const end = Math.min(source.sizeBytes, start + segmentBytes);
    try {
      const answer = await transport.call({
        method: 'PATCH',
        path,
        headers: { 'upload-offset': String(start), 'content-type': 'application/offset+octet-stream' },
        stream: { octets: counted(source.read(start, end), start, options.onProgress), length: end - start },
        signal: options.signal,
      });
      const told = Number(answer.headers['upload-offset']);
      at = Number.isSafeInteger(told) && told > start ? told : end;
    } catch (error) {
      if (!(error instanceof Problem) || !healable(error) || Date.now() > deadline) throw error;
      await rest(pauseMs(attempt, error.retryAfterSeconds), options.signal);
      attempt += 1;
      try {
        at = await offsetWhenBack(offset, deadline, options.signal);
      } catch (refusal) {
        // All was sent and only the reply was lost: a server that has everything takes no more. Its digest check has the last word.
        if (end === source.sizeBytes && faultOf(error) !== undefined && refusal instanceof Problem && refusal.kind === 'conflict') return;
        throw refusal;
      }
    }
    if (at > reached) {
      reached = at;
      attempt = 0;
      deadline = Date.now() + patienceMs;
    }
    options.onProgress?.(at);
  }
}

/** A cut, a server that is busy, or an offset that moved because an earlier PATCH arrived after all. */
function healable(problem: Problem): boolean {
  return problem.retry !== 'never' || problem.kind === 'conflict';
}

async function offsetWhenBack(offset: () => Promise<number>, deadline: number, signal: AbortSignal | undefined): Promise<number> {
  for (let attempt = 0; ; attempt += 1) {
    try {
      return await offset();
    } catch (error) {
      if (!(error instanceof Problem) || error.retry === 'never' || Date.now() > deadline) throw error;
      await rest(pauseMs(attempt), signal);
    }
  }
}

async function* counted(octets: AsyncIterable<Uint8Array>, start: number, onProgress: UploadOptions['onProgress']) {
  let at = start;
  for await (const chunk of octets) {
    at += chunk.length;
    yield chunk;
    onProgress?.(at);
  }
}
