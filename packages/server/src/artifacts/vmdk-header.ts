import { Problem } from '@virt8ra/contract';
import type { Octets } from './octets.js';

export const vmdkMagic = Buffer.from('KDMV');

const refuse = (reason: string): Problem => new Problem('validation', `the VMDK image is refused: ${reason}`);

const sector = 512;
const headerBytes = sector;
/** A reader looks for a parent in so much from where the descriptor begins, whatever the header says of its length. */
const descriptorLeast = 20;
const descriptorMost = 2048;
/** Entries of a grain table; every writer uses this number. */
const tableEntries = 512;
/** Bound of QEMU itself. */
const maxDirectoryBytes = 512 * 1024 * 1024;

const flags = { validNewlines: 1 << 0, redundantTable: 1 << 1, zeroedGrains: 1 << 2, compressed: 1 << 16, markers: 1 << 17 };
const createTypes = ['monolithicSparse', 'streamOptimized'];

/**
 * Reads and checks the header and the embedded descriptor of a VMDK file that holds its disk by itself: monolithic sparse, or stream-optimised
 * (format: VMware, Virtual Disk Format 5.0). Raises `validation` for whatever could make a reader open another file, load absurd tables, or describe
 * more than `maxVirtualBytes`.
 */
export async function readVmdkHeader(
  file: Octets,
  fileBytes: number,
  maxVirtualBytes: number,
): Promise<{ readonly virtualSizeBytes: number }> {
  const header = await readAt(file, 0, headerBytes);
  if (!header.subarray(0, 4).equals(vmdkMagic)) throw refuse('it is no sparse VMDK that holds its disk by itself');
  const version = header.readUInt32LE(4);
  if (version < 1 || version > 3) throw refuse(`version ${version} is unknown; versions 1 to 3 are accepted`);
  const used = header.readUInt32LE(8);
  const known = Object.values(flags).reduce((all, flag) => all | flag, 0);
  if ((used & ~known) !== 0) throw refuse(`it uses flags this control plane does not know (0x${used.toString(16)})`);
  if ((used & flags.validNewlines) !== 0 && header.toString('latin1', 73, 77) !== '\n \r\n')
    throw refuse('it went through a transfer that changed its line ends');
  const compression = header.readUInt16LE(77);
  const isCompressed = (used & flags.compressed) !== 0;
  if (compression > 1 || isCompressed !== (compression === 1)) throw refuse('its compression is not deflate');
  const capacity = sectors(header, 12, 'capacity');
  // A reader takes no capacity for a descriptor alone, and opens the files that it names.
  if (capacity === 0) throw refuse('its capacity is 0, so that its data would lie in other files');
  const virtualSizeBytes = capacity * sector;
  if (virtualSizeBytes > maxVirtualBytes)
    throw refuse(
      `its virtual size is ${virtualSizeBytes} bytes, more than the ${maxVirtualBytes} this control plane accepts (artifacts.maxVirtualGB)`,
    );
  const grain = sectors(header, 20, 'grain size');
  if (grain < 8 || grain > 2048 || (grain & (grain - 1)) !== 0)
    throw refuse(`its grains have ${grain} sectors; powers of two from 8 to 2048 are possible`);
  if (header.readUInt32LE(44) !== tableEntries)
    throw refuse(`its grain tables have ${header.readUInt32LE(44)} entries, not ${tableEntries}`);
  await checkDescriptor(file, sectors(header, 28, 'descriptor'), sectors(header, 36, 'descriptor length'), fileBytes);
  const directory = await directoryOf(file, header, fileBytes);
  const directoryBytes = Math.ceil(capacity / (grain * tableEntries)) * 4;
  if (directoryBytes > maxDirectoryBytes) throw refuse(`its grain directory of ${directoryBytes} bytes is absurd`);
  if (directory === 0 || directory * sector + directoryBytes > fileBytes)
    throw refuse('its grain directory lies beyond the end of the file; the file is cut short');
  return { virtualSizeBytes };
}

/** First sector of the grain directory. What was written as a stream says it at its end alone. */
async function directoryOf(file: Octets, header: Buffer, fileBytes: number): Promise<number> {
  if (header.readBigUInt64LE(56) !== 0xffff_ffff_ffff_ffffn) return sectors(header, 56, 'grain directory');
  const end = fileBytes - 3 * sector;
  if (end < headerBytes || fileBytes % sector !== 0) throw refuse('its footer is missing; the file is cut short');
  const tail = await readAt(file, end, 3 * sector);
  const footer = tail.subarray(sector, 2 * sector);
  const marked = tail.readUInt32LE(8) === 0 && tail.readUInt32LE(12) === 3 && tail.subarray(2 * sector).every((octet) => octet === 0);
  if (!marked || !footer.subarray(0, 4).equals(vmdkMagic)) throw refuse('its footer is missing; the file is cut short');
  // A reader uses the footer in place of the header: what was checked there must be the same here.
  const same =
    [...footer.subarray(0, 56)].every((octet, at) => octet === header[at]) && footer.subarray(64, 79).equals(header.subarray(64, 79));
  if (!same) throw refuse('its footer contradicts its header');
  return sectors(footer, 56, 'grain directory');
}

async function checkDescriptor(file: Octets, offset: number, length: number, fileBytes: number): Promise<void> {
  if (offset === 0) throw refuse('it has no descriptor of its own');
  if (length > descriptorMost) throw refuse(`its descriptor of ${length * sector} bytes is absurd`);
  const bytes = Math.min(Math.max(length, descriptorLeast) * sector, fileBytes - offset * sector);
  if (bytes <= 0) throw refuse('its descriptor lies beyond the end of the file; the file is cut short');
  const area = (await readAt(file, offset * sector, bytes)).toString('latin1');
  if (/parentFileNameHint/i.test(area))
    throw refuse('it is the difference to another disk, which it names. Join them first: qemu-img convert');
  const text = area.slice(0, length * sector).replace(/\0.*$/s, '');
  const parent = /^\s*parentCID\s*=\s*([0-9a-f]+)/im.exec(text)?.[1];
  if (parent !== undefined && parent.toLowerCase() !== 'ffffffff')
    throw refuse('it is the difference to another disk. Join them first: qemu-img convert');
  const type = /^\s*createType\s*=\s*"([^"]*)"/im.exec(text)?.[1];
  if (type === undefined || !createTypes.includes(type))
    throw refuse(
      `it is ${type === undefined ? 'of no known kind' : `a ${type.slice(0, 40)} disk`}; ${createTypes.join(' and ')} are accepted`,
    );
  const extents = text.split('\n').filter((line) => /^\s*(RW|RDONLY|NOACCESS)\s/i.test(line));
  if (extents.length !== 1 || !/^\s*(?:RW|RDONLY)\s+\d+\s+SPARSE\s+"[^"/\\]*"\s*$/i.test(extents[0] ?? ''))
    throw refuse('its descriptor names other files or places for its data');
}

function sectors(header: Buffer, at: number, what: string): number {
  const value = header.readBigUInt64LE(at);
  if (value > 2n ** 43n) throw refuse(`its ${what} is absurd`);
  return Number(value);
}

async function readAt(file: Octets, position: number, length: number): Promise<Buffer> {
  const buffer = Buffer.alloc(length);
  const { bytesRead } = await file.read(buffer, 0, length, position);
  if (bytesRead < length) throw refuse('its header is cut short');
  return buffer;
}
