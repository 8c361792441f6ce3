import type { IncomingMessage, ServerResponse } from 'node:http';
import { Problem } from '@virt8ra/contract';
import { backupContentKey } from '@virt8ra/driver';
import type { Pool } from 'pg';

/** Takes in content under a key, durably and piece by piece. */
export interface ContentIntake {
  received(key: string): Promise<ContentState | undefined>;
  /** Begins, or goes on when the same was expected before. Raises `too-large`, `exhausted`. */
  begin(key: string, expected: { readonly sha256: string; readonly sizeBytes: number }): Promise<ContentState>;
  /** Raises `conflict` (with fact `offset`) when it does not continue there. */
  append(key: string, offset: number, content: AsyncIterable<Uint8Array>): Promise<ContentState>;
}

interface ContentState {
  readonly offset: number;
  readonly sizeBytes: number | undefined;
}

/** Uploads of all hosts at the same time; beyond it they are asked to come again. */
const uploadsMost = 32;

/**
 * HEAD and PATCH of the content of one volume of a backup, by the agent that has been told to make it. HEAD tells how far it came; PATCH goes on
 * from there and may begin anew with another digest. Memory does not grow with the content.
 */
export function createBackupRoute(pool: Pool, intake: ContentIntake) {
  let uploads = 0;
  return async (request: IncomingMessage, response: ServerResponse, host: string, key: string, position: number): Promise<void> => {
    const wanted = await pool.query(
      `select 1 from fleet.desired
        where host = $1 and type = 'backup' and key = $2 and jsonb_array_length(object -> 'volumes') > $3`,
      [host, key, position],
    );
    if (wanted.rowCount === 0) throw new Problem('not-found', `host ${host} has no backup ${key} with ${position + 1} volumes to make`);
    const contentKey = backupContentKey(key, position);
    if (request.method === 'HEAD') {
      const state = await intake.received(contentKey);
      if (state === undefined) throw new Problem('not-found', 'nothing of it has come yet');
      response.writeHead(204, headersOf(state)).end();
      return;
    }
    const sizeBytes = numberOf(request.headers['upload-length'], 'upload-length');
    const offset = numberOf(request.headers['upload-offset'], 'upload-offset');
    const sha256 = request.headers['upload-sha256'];
    if (typeof sha256 !== 'string' || !/^[0-9a-f]{64}$/.test(sha256))
      throw new Problem('invalid-request', 'upload-sha256 must be the digest of the whole content', {
        sources: [{ parameter: 'upload-sha256' }],
      });
    if (uploads >= uploadsMost) throw new Problem('unavailable', 'too many backups are being sent', { retryAfterSeconds: 5 });
    uploads += 1;
    try {
      const begun = await intake.begin(contentKey, { sha256, sizeBytes });
      if (begun.offset !== offset) {
        response.writeHead(409, { ...headersOf(begun), connection: 'close' }).end();
        return;
      }
      response.writeHead(204, headersOf(await intake.append(contentKey, offset, request as AsyncIterable<Buffer>))).end();
    } finally {
      uploads -= 1;
    }
  };
}

function headersOf({ offset, sizeBytes }: ContentState): Record<string, string> {
  return {
    'upload-offset': String(offset),
    ...(sizeBytes === undefined ? {} : { 'upload-length': String(sizeBytes) }),
    'cache-control': 'no-store',
  };
}

function numberOf(value: string | string[] | undefined, parameter: string): number {
  if (typeof value === 'string' && /^\d{1,15}$/.test(value)) return Number(value);
  throw new Problem('invalid-request', `${parameter} must be a number of bytes`, { sources: [{ parameter }] });
}
