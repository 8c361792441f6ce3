import { Problem } from '@virt8ra/contract';
import type { Octets } from './octets.js';

export const vhdxMagic = Buffer.from('vhdxfile');
export const vhdMagic = Buffer.from('conectix');

const diskTypes: Readonly<Record<number, string>> = { 2: 'fixed', 3: 'dynamic', 4: 'the difference to another disk' };

/**
 * Size that a VHD says its disk has (format: Virtual Hard Disk Image Format Specification 1.0: its footer is at the end). Raises `validation` for what is a difference to
 * another disk, and beyond `maxVirtualBytes`.
 */
export async function readVhdFooter(
  file: Octets,
  fileBytes: number,
  maxVirtualBytes: number,
): Promise<{ readonly virtualSizeBytes: number }> {
  const footer = await readAt(file, Math.max(0, fileBytes - 512), 512, 'VHD');
  if (!footer.subarray(0, 8).equals(vhdMagic)) throw refuse('VHD', 'its footer is missing; the file is cut short or is none');
  const type = footer.readUInt32BE(60);
  if (type !== 2 && type !== 3) throw refuse('VHD', `it is ${diskTypes[type] ?? `of type ${type}`}. Join them first: qemu-img convert`);
  let sum = 0;
  for (const [at, octet] of footer.entries()) if (at < 64 || at >= 68) sum += octet;
  if (~sum >>> 0 !== footer.readUInt32BE(64)) throw refuse('VHD', 'its footer is damaged');
  if (type === 3) {
    // A reader trusts the copy at the beginning.
    const copy = await readAt(file, 0, 512, 'VHD');
    if (!copy.equals(footer)) throw refuse('VHD', 'its two footers contradict each other');
  }
  return sized('VHD', footer.readBigUInt64BE(48), maxVirtualBytes);
}

/** Little-endian GUIDs of the region of metadata, and of two items of it (format: MS-VHDX). */
const metadataRegion = '06a27c8b90479a4bb8fe575f050f886e';
const fileParameters = '3767a1ca36fa434db3b633f0aa44e76b';
const virtualDiskSize = '24 42 a5 2f 1b cd 76 48 b2 11 5d be d8 3b f4 b8'.replaceAll(' ', '');

/** The same of a VHDX. */
export async function readVhdxHeader(
  file: Octets,
  fileBytes: number,
  maxVirtualBytes: number,
): Promise<{ readonly virtualSizeBytes: number }> {
  const start = await readAt(file, 0, 8, 'VHDX');
  if (!start.equals(vhdxMagic)) throw refuse('VHDX', 'it is none');
  const regions = await readAt(file, 192 * 1024, 64 * 1024, 'VHDX');
  if (regions.toString('latin1', 0, 4) !== 'regi') throw refuse('VHDX', 'its table of regions is missing');
  const region = entryOf(regions, 16, regions.readUInt32LE(8), 2047, metadataRegion);
  const at = region === undefined ? 0n : region.readBigUInt64LE(16);
  if (at === 0n || at + 65_536n > BigInt(fileBytes))
    throw refuse('VHDX', 'its metadata lies beyond the end of the file; the file is cut short');
  const metadata = await readAt(file, Number(at), 64 * 1024, 'VHDX');
  if (metadata.toString('latin1', 0, 8) !== 'metadata') throw refuse('VHDX', 'its metadata is missing');
  const count = metadata.readUInt16LE(10);
  const itemAt = async (guid: string, bytes: number): Promise<Buffer> => {
    const entry = entryOf(metadata, 32, count, 2047, guid);
    if (entry === undefined || entry.readUInt32LE(20) < bytes) throw refuse('VHDX', 'its metadata is incomplete');
    return await readAt(file, Number(at) + entry.readUInt32LE(16), bytes, 'VHDX');
  };
  if (((await itemAt(fileParameters, 8)).readUInt32LE(4) & 2) !== 0)
    throw refuse('VHDX', 'it is the difference to another disk. Join them first: qemu-img convert');
  return sized('VHDX', (await itemAt(virtualDiskSize, 8)).readBigUInt64LE(0), maxVirtualBytes);
}

function entryOf(table: Buffer, start: number, count: number, most: number, guid: string): Buffer | undefined {
  for (let index = 0; index < Math.min(count, most); index += 1) {
    const entry = table.subarray(start + index * 32, start + (index + 1) * 32);
    if (entry.length === 32 && entry.toString('hex', 0, 16) === guid) return entry;
  }
  return undefined;
}

function sized(what: string, size: bigint, maxVirtualBytes: number): { readonly virtualSizeBytes: number } {
  if (size === 0n || size % 512n !== 0n) throw refuse(what, `its virtual size is ${size} bytes`);
  if (size > BigInt(maxVirtualBytes))
    throw refuse(
      what,
      `its virtual size is ${size} bytes, more than the ${maxVirtualBytes} this control plane accepts (artifacts.maxVirtualGB)`,
    );
  return { virtualSizeBytes: Number(size) };
}

function refuse(what: string, reason: string): Problem {
  return new Problem('validation', `the ${what} image is refused: ${reason}`);
}

async function readAt(file: Octets, position: number, length: number, what: string): Promise<Buffer> {
  const buffer = Buffer.alloc(length);
  const { bytesRead } = await file.read(buffer, 0, length, position);
  if (bytesRead < length) throw refuse(what, 'its header is cut short');
  return buffer;
}
