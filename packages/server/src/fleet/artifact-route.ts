import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { Problem } from '@virt8ra/contract';
import type { Pool } from 'pg';

/** Images by content. */
export interface ArtifactReader {
  /** Bytes of the artifact; undefined when there is none. */
  size(sha256: string): Promise<number | undefined>;
  /** Bytes `start` to `end`, both included. */
  read(sha256: string, start: number, end: number): Readable | Promise<Readable>;
}

/** Streams of all hosts at the same time; beyond it they are asked to come again. */
const streamsMost = 64;
const stallMs = 60_000;

/**
 * GET of an artifact by an agent, with Range (RFC 9110, one range). A host gets what one of its volumes is made from, the release it was told to run, and nothing else.
 * Raises `not-found` and `unavailable`; a range outside of it is answered 416.
 */
export function createArtifactRoute(pool: Pool, artifacts: ArtifactReader) {
  let streams = 0;
  return async (request: IncomingMessage, response: ServerResponse, host: string, sha256: string): Promise<void> => {
    const wanted = await pool.query(
      `select 1 from fleet.desired where host = $1 and type = 'volume' and object -> 'source' ->> 'sha256' = $2
       union all select 1 from fleet.host where host = $1 and agent_release ->> 'sha256' = $2 limit 1`,
      [host, sha256],
    );
    const bytes = wanted.rowCount === 0 ? undefined : await artifacts.size(sha256);
    if (bytes === undefined)
      throw new Problem('not-found', `neither a volume of host ${host} nor its agent is made from artifact ${sha256}`);
    if (streams >= streamsMost) throw new Problem('unavailable', 'too many artifacts are being fetched', { retryAfterSeconds: 2 });
    const range = rangeFromHeader(request.headers.range, bytes);
    if (range === 'unsatisfiable') {
      response.writeHead(416, { 'content-range': `bytes */${bytes}` }).end();
      return;
    }
    streams += 1;
    try {
      const { start, end } = range ?? { start: 0, end: bytes - 1 };
      const body = await artifacts.read(sha256, start, end);
      response.writeHead(range === undefined ? 200 : 206, {
        'content-type': 'application/octet-stream',
        'content-length': end - start + 1,
        'accept-ranges': 'bytes',
        etag: `"${sha256}"`,
        ...(range === undefined ? {} : { 'content-range': `bytes ${start}-${end}/${bytes}` }),
      });
      // A host that stops reading gives its place away; it goes on by Range.
      response.setTimeout(stallMs, () => response.destroy());
      await pipeline(body, response);
    } finally {
      streams -= 1;
    }
  };
}

/** Undefined: the whole. Forms that are not understood are ignored, as the RFC says. */
function rangeFromHeader(
  header: string | undefined,
  bytes: number,
): { readonly start: number; readonly end: number } | 'unsatisfiable' | undefined {
  const [, first = '', last = ''] = /^bytes=(\d{0,15})-(\d{0,15})$/.exec(header ?? '') ?? [];
  if (first === '' && last === '') return undefined;
  if (first === '') {
    const suffix = Math.min(Number(last), bytes);
    return suffix === 0 ? 'unsatisfiable' : { start: bytes - suffix, end: bytes - 1 };
  }
  const start = Number(first);
  if (last !== '' && Number(last) < start) return undefined;
  if (start >= bytes) return 'unsatisfiable';
  return { start, end: last === '' ? bytes - 1 : Math.min(Number(last), bytes - 1) };
}
