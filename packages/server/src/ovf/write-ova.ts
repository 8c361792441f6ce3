import { createHash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import type { Readable } from 'node:stream';
import { Problem, tarBlock, tarHeader } from '@virt8ra/contract';
import { type WrittenMachine, writeOvf } from './write-ovf.js';

export interface OvaContent {
  readonly machine: WrittenMachine;
  /** Digests of the disks, in their order. */
  readonly digests: readonly string[];
  /** Octets of a disk, by its place. */
  readonly open: (at: number) => Promise<Readable>;
  readonly signal?: AbortSignal;
}

/** Writes an OVA: descriptor, manifest, then the disks, in this order, so that a reader can judge it as a stream. */
export async function writeOva(target: FileHandle, { machine, digests, open, signal }: OvaContent): Promise<void> {
  const { name, disks } = machine;
  const descriptor = Buffer.from(writeOvf(machine));
  const lines = [
    `SHA256(${name}.ovf)= ${createHash('sha256').update(descriptor).digest('hex')}`,
    ...disks.map(({ file }, at) => `SHA256(${file})= ${digests[at] ?? ''}`),
  ];
  const manifest = Buffer.from(`${lines.join('\n')}\n`);
  let at = 0;
  const put = async (octets: Uint8Array): Promise<void> => {
    signal?.throwIfAborted();
    await target.write(octets, 0, octets.length, at);
    at += octets.length;
  };
  const pad = async (bytes: number): Promise<void> => await put(Buffer.alloc((tarBlock - (bytes % tarBlock)) % tarBlock));
  for (const [file, text] of [
    [`${name}.ovf`, descriptor],
    [`${name}.mf`, manifest],
  ] as const) {
    await put(tarHeader(file, text.length));
    await put(text);
    await pad(text.length);
  }
  for (const [place, { file, fileBytes }] of disks.entries()) {
    await put(tarHeader(file, fileBytes));
    const start = at;
    for await (const chunk of (await open(place)) as AsyncIterable<Buffer>) await put(chunk);
    if (at - start !== fileBytes) throw new Problem('internal', `${file} changed while it was written down`);
    await pad(fileBytes);
  }
  await put(Buffer.alloc(2 * tarBlock));
}
