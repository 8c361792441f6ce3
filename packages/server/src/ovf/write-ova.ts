import { createHash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import type { Readable } from 'node:stream';
import { Problem } from '@virt8ra/contract';
import { tarBlock } from './tar-members.js';
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
  const put = async (octets: Buffer): Promise<void> => {
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

/** Of a regular file, as ustar; GNU's binary form for sizes beyond eight gigabytes. */
export function tarHeader(name: string, bytes: number): Buffer {
  const header = Buffer.alloc(tarBlock);
  if (Buffer.byteLength(name) > 100) throw new Problem('internal', `the name ${name} does not fit into an archive`);
  header.write(name, 0);
  header.write('0000644\0', 100);
  header.write('0000000\0', 108);
  header.write('0000000\0', 116);
  if (bytes < 8 ** 11) header.write(`${bytes.toString(8).padStart(11, '0')}\0`, 124);
  else {
    header[124] = 0x80;
    header.writeBigUInt64BE(BigInt(bytes), 128);
  }
  header.write('00000000000\0', 136);
  header.write('        ', 148);
  header.write('0', 156);
  header.write('ustar\0', 257);
  header.write('00', 263);
  let sum = 0;
  for (const octet of header) sum += octet;
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  return header;
}
