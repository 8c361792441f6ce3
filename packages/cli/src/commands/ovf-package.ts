import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { UploadSource } from '@virt8ra/client';
import { Problem, tarBlock, tarHeader } from '@virt8ra/contract';
import type { LiveLine } from '../output/live-line.js';
import type { Terminal } from '../terminal.js';
import { measured, sizeOfFile } from './file-content.js';

/** What is sent of a machine: its octets, and their digest. */
export interface MachinePackage extends UploadSource {
  readonly sha256: string;
}

type Part = { readonly bytes: number } & ({ readonly octets: Uint8Array } | { readonly path: string });

const textMost = 1024 * 1024;

/** An OVA as it is; of a descriptor (.ovf) the archive that it makes with the files that it names beside it, without writing one. Raises `invalid-request`. */
export async function machinePackage(terminal: Terminal, path: string, line: LiveLine): Promise<MachinePackage> {
  const parts = /\.ovf$/i.test(path) ? await partsOfDescriptor(path) : [{ path, bytes: await sizeOfFile(path) }];
  const sizeBytes = parts.reduce((sum, { bytes }) => sum + bytes, 0);
  const read = (start: number, end: number): AsyncIterable<Uint8Array> => octetsOf(parts, start, end);
  const hash = createHash('sha256');
  const startedAt = terminal.now();
  let bytes = 0;
  for await (const chunk of read(0, sizeBytes)) {
    terminal.signal.throwIfAborted();
    hash.update(chunk);
    bytes += chunk.length;
    line.show(measured('digest', bytes, sizeBytes, startedAt, terminal.now()));
  }
  return { sizeBytes, read, sha256: hash.digest('hex') };
}

async function partsOfDescriptor(path: string): Promise<readonly Part[]> {
  const folder = dirname(path);
  const name = basename(path);
  if ((await sizeOfFile(path)) > textMost) throw new Problem('invalid-request', `${path} is no descriptor: it is too large`);
  const descriptor = await readFile(path);
  const parts: Part[] = memberOf(name, descriptor);
  const manifest = join(folder, name.replace(/\.ovf$/i, '.mf'));
  const lines = await readFile(manifest).catch(() => undefined);
  if (lines !== undefined) parts.push(...memberOf(basename(manifest), lines));
  for (const file of filesOf(descriptor.toString('utf8'))) {
    if (/[/\\]/.test(file) || file === '..')
      throw new Problem('invalid-request', `${path} names ${JSON.stringify(file)}, which is not beside it`);
    const bytes = await sizeOfFile(join(folder, file));
    parts.push(headerPart(file, bytes), { path: join(folder, file), bytes }, padding(bytes));
  }
  return [...parts, { octets: Buffer.alloc(2 * tarBlock), bytes: 2 * tarBlock }].filter(({ bytes }) => bytes > 0);
}

/** Files that a descriptor names. It is judged where it is sent to; here it is only seen what belongs to it. */
function filesOf(descriptor: string): readonly string[] {
  const tags = descriptor.match(/<(?:\w+:)?File\s[^>]*>/g) ?? [];
  const names = tags
    .flatMap((tag) => /\s(?:\w+:)?href\s*=\s*(?:"([^"]*)"|'([^']*)')/.exec(tag)?.slice(1) ?? [])
    .filter((name) => name !== undefined);
  return [...new Set(names)].map((name) => name.replaceAll('&amp;', '&').replaceAll('&apos;', "'").replaceAll('&quot;', '"'));
}

function memberOf(name: string, octets: Buffer): Part[] {
  return [headerPart(name, octets.length), { octets, bytes: octets.length }, padding(octets.length)];
}

function padding(bytes: number): Part {
  const octets = Buffer.alloc((tarBlock - (bytes % tarBlock)) % tarBlock);
  return { octets, bytes: octets.length };
}

function headerPart(name: string, bytes: number): Part {
  return { octets: tarHeader(name, bytes), bytes: tarBlock };
}

async function* octetsOf(parts: readonly Part[], start: number, end: number): AsyncGenerator<Uint8Array> {
  let at = 0;
  for (const part of parts) {
    const from = Math.max(start - at, 0);
    const to = Math.min(end - at, part.bytes);
    at += part.bytes;
    if (from >= to) continue;
    if ('octets' in part) yield part.octets.subarray(from, to);
    else yield* createReadStream(part.path, { start: from, end: to - 1, highWaterMark: 256 * 1024 }) as AsyncIterable<Buffer>;
  }
}
