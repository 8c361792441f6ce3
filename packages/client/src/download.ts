import type { Address, Kind } from '@virt8ra/contract';
import { Problem } from '@virt8ra/contract';
import { problemFromConnection } from './exchange.js';
import { pathOf } from './path.js';
import { pauseMs, rest, type Transport } from './transport.js';

/** A file that belongs to a resource, as its status names it. */
export interface DownloadSource {
  readonly kind: Kind;
  readonly address: Address;
  readonly file: string;
  readonly sizeBytes: number;
  readonly sha256: string;
  /** Where to go on; default: the beginning. */
  readonly offset?: number;
}

export interface DownloadOptions {
  readonly signal?: AbortSignal | undefined;
  /** Seconds without a step forward after which it gives up. Default 120. */
  readonly patienceSeconds?: number;
}

/** Seconds without an octet after which a connection counts as lost. */
const idleSeconds = 60;

/**
 * Octets of a file, from `offset` to its end. A cut is healed: it goes on where it was, and only with the same content. Whoever reads them checks the digest of
 * the whole. Raises the server's problem when it refuses.
 */
export async function* downloadFile(
  transport: Transport,
  source: DownloadSource,
  options: DownloadOptions = {},
): AsyncGenerator<Uint8Array> {
  const { kind, address, file, sizeBytes, sha256 } = source;
  const path = `${pathOf(kind, address)}/files/${encodeURIComponent(file)}`;
  const patienceMs = (options.patienceSeconds ?? 120) * 1000;
  let at = source.offset ?? 0;
  let deadline = Date.now() + patienceMs;
  let attempt = 0;
  while (at < sizeBytes) {
    const before = at;
    try {
      const headers = { range: `bytes=${at}-`, 'if-range': `"${sha256}"`, accept: 'application/octet-stream, application/json' };
      const message = await transport.open({ method: 'GET', path, headers, signal: options.signal }, idleSeconds);
      // Another content is none to go on with.
      if (message.statusCode !== 206 && at > 0) {
        message.destroy();
        throw new Problem('conflict', `${file} is not what it was any more; begin anew`);
      }
      for await (const chunk of message as AsyncIterable<Buffer>) {
        at += chunk.length;
        yield chunk;
      }
      if (at < sizeBytes) throw new Problem('unavailable', `${file} ended after ${at} of ${sizeBytes} bytes`);
    } catch (error) {
      const problem = problemFromConnection(error, { url: new URL(transport.server), signal: options.signal });
      if (at > before) {
        attempt = 0;
        deadline = Date.now() + patienceMs;
      }
      if (problem.retry === 'never' || Date.now() > deadline) throw problem;
      await rest(pauseMs(attempt, problem.retryAfterSeconds), options.signal);
      attempt += 1;
    }
  }
}
