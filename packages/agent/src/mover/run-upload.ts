import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import type { IncomingMessage, Agent as Line } from 'node:http';
import { Agent, request } from 'node:https';
import { pipeline } from 'node:stream/promises';
import { Problem, problemFromDocument, toProblem } from '@virt8ra/contract/plain';
import { agentThrough } from '@virt8ra/outbound';
import { readAnswer } from '../link/exchange.js';
import type { Log } from '../log.js';
import type { MoverCredentials, MoverNotice } from '../transfer/mover-port.js';
import type { PassCommands } from './passes.js';
import { ProgressMeter } from './progress-meter.js';

export interface UploadConfig {
  readonly file: string;
  /** URL of the control plane's agents' port. */
  readonly server: string;
  /** Where the content goes, below that URL. */
  readonly path: string;
  readonly credentials: MoverCredentials;
}

export interface UploadRun {
  readonly config: UploadConfig;
  readonly commands: Pick<PassCommands, 'signal'>;
  readonly log: Log;
  readonly notify: (notice: MoverNotice) => void;
}

/** A request must not take longer than the control plane waits for one; on a slow line pieces get smaller. */
const piece = { most: 32 * 1024 * 1024, least: 512 * 1024, goodMs: 8_000 } as const;
const requestMs = 60_000;
const highWaterMark = 256 * 1024;

/**
 * Sends a file to the control plane, from where an earlier upload was cut; the last notice is `finished` with its digest, `aborted` or `failed`.
 */
export async function runUpload({ config, commands, log, notify }: UploadRun): Promise<void> {
  const { signal } = commands;
  const one = { keepAlive: true, maxSockets: 1 };
  const agent = agentThrough(new URL(config.server), config.credentials.proxies ?? {}, one) ?? new Agent(one);
  try {
    const { size } = await stat(config.file);
    const sha256 = await digestOf(config.file, signal);
    const meter = new ProgressMeter(notify);
    meter.phase('sending');
    let offset = await positionOf(config, agent, signal);
    let pieceBytes: number = piece.least * 8;
    log.info('a backup is being sent', { bytes: size, offset });
    // At least one piece, and be it empty: what is there already may be of another digest.
    for (let asked = false; offset < size || !asked; asked = true) {
      const end = Math.min(offset + pieceBytes, size);
      const startedAt = performance.now();
      const headers = {
        'upload-offset': String(offset),
        'upload-length': String(size),
        'upload-sha256': sha256,
        'content-length': String(end - offset),
      };
      const response = await ask(config, agent, { method: 'PATCH', headers, range: { start: offset, end }, signal });
      offset = numberFrom(response.headers['upload-offset']);
      response.resume();
      meter.report({ pass: 0, doneBytes: offset, totalBytes: size });
      const ms = performance.now() - startedAt;
      pieceBytes =
        ms > piece.goodMs
          ? Math.max(piece.least, pieceBytes / 2)
          : ms < piece.goodMs / 4
            ? Math.min(piece.most, pieceBytes * 2)
            : pieceBytes;
    }
    notify({ type: 'finished', roots: [sha256] });
  } catch (error) {
    if (signal.aborted) return notify({ type: 'aborted' });
    const { kind, message } = toProblem(error);
    notify({ type: 'failed', code: kind, message });
  } finally {
    agent.destroy();
  }
}

async function digestOf(file: string, signal: AbortSignal): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(file, { signal, highWaterMark })) hash.update(chunk as Buffer);
  return hash.digest('hex');
}

/** How much of it the control plane has; what it has of another digest is replaced when the first piece comes, which begins at 0. */
async function positionOf(config: UploadConfig, agent: Line, signal: AbortSignal): Promise<number> {
  try {
    const response = await ask(config, agent, { method: 'HEAD', headers: {}, signal });
    response.resume();
    return numberFrom(response.headers['upload-offset']);
  } catch (error) {
    if (error instanceof Problem && error.kind === 'not-found') return 0;
    throw error;
  }
}

interface Question {
  readonly method: 'HEAD' | 'PATCH';
  readonly headers: Readonly<Record<string, string>>;
  /** Octets of the file that are the body. */
  readonly range?: { readonly start: number; readonly end: number };
  readonly signal: AbortSignal;
}

/** Answers also when the content stands elsewhere: its header says where. Raises the server's own Problem, or unavailable. */
async function ask(config: UploadConfig, agent: Line, question: Question): Promise<IncomingMessage> {
  const { method, headers, range, signal } = question;
  const { certificate, privateKey, ca } = config.credentials;
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    const fail = (error: Error) =>
      reject(new Problem('unavailable', `the control plane cannot be reached: ${error.message}`, { cause: error }));
    const outgoing = request(new URL(config.path, config.server), {
      method,
      agent,
      ca,
      cert: certificate,
      key: privateKey,
      minVersion: 'TLSv1.3',
      signal,
      timeout: requestMs,
      headers,
    });
    outgoing.once('response', resolve);
    outgoing.once('timeout', () => outgoing.destroy(new Error(`no answer within ${requestMs / 1000} s`)));
    outgoing.once('error', fail);
    if (range === undefined || range.start === range.end) outgoing.end();
    else pipeline(createReadStream(config.file, { start: range.start, end: range.end - 1, highWaterMark }), outgoing).catch(fail);
  });
  const status = response.statusCode ?? 0;
  if (status === 204 || (status === 409 && response.headers['upload-offset'] !== undefined)) return response;
  throw problemFromDocument(await readAnswer(response).catch(() => undefined), status);
}

function numberFrom(header: string | string[] | undefined): number {
  const value = Number(header);
  if (typeof header === 'string' && Number.isSafeInteger(value) && value >= 0) return value;
  throw new Problem('internal', 'the control plane does not say how far the content came');
}
