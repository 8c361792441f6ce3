import { Problem } from '@virt8ra/contract';
import type { Octets } from './octets.js';

/** What the header of a qcow2 file says, after every number in it was found sane (format: QEMU docs/interop/qcow2.rst). */
export interface Qcow2Header {
  readonly version: 2 | 3;
  readonly virtualSizeBytes: number;
  readonly clusterBytes: number;
}

export const qcow2Magic = Buffer.from('514649fb', 'hex');

const refuse = (reason: string): Problem => new Problem('validation', `the qcow2 image is refused: ${reason}`);

/** Bounds of QEMU itself: larger tables are an attack on whoever loads them. */
const maxL1Bytes = 32 * 1024 * 1024;
const maxRefcountTableBytes = 8 * 1024 * 1024;
const headerBytes = 104;

const incompatible = { dirty: 1n << 0n, corrupt: 1n << 1n, externalData: 1n << 2n, compressionType: 1n << 3n, extendedL2: 1n << 4n };

const extensions = {
  end: 0,
  backingFormat: 0xe2792aca,
  featureNames: 0x6803f857,
  bitmaps: 0x23852875,
  encryption: 0x0537be77,
  externalData: 0x44415441,
};

/**
 * Reads and checks the header. Raises `validation` for whatever could make a reader open another file, need a key, load absurd tables or
 * describe more than `maxVirtualBytes`; also for images that were not closed cleanly.
 */
export async function readQcow2Header(file: Octets, fileBytes: number, maxVirtualBytes: number): Promise<Qcow2Header> {
  const header = Buffer.alloc(headerBytes);
  const { bytesRead } = await file.read(header, 0, headerBytes, 0);
  if (bytesRead < 72 || !header.subarray(0, 4).equals(qcow2Magic)) throw refuse('it has no complete qcow2 header');
  const version = header.readUInt32BE(4);
  if (version !== 2 && version !== 3) throw refuse(`version ${version} is unknown; versions 2 and 3 are accepted`);
  if (version === 3 && bytesRead < headerBytes) throw refuse('its header is cut short');

  if (header.readBigUInt64BE(8) !== 0n || header.readUInt32BE(16) !== 0) {
    throw refuse('it needs a backing file. Flatten it first: qemu-img convert -O qcow2 IN OUT');
  }
  const clusterBits = header.readUInt32BE(20);
  if (clusterBits < 9 || clusterBits > 21) throw refuse(`its clusters are 2^${clusterBits} bytes; 2^9 to 2^21 are possible`);
  const clusterBytes = 2 ** clusterBits;
  const virtualSize = header.readBigUInt64BE(24);
  if (virtualSize === 0n) throw refuse('its virtual size is 0');
  if (virtualSize > BigInt(maxVirtualBytes)) {
    throw refuse(
      `its virtual size is ${virtualSize} bytes, more than the ${maxVirtualBytes} this control plane accepts (artifacts.maxVirtualGB)`,
    );
  }
  if (virtualSize % 512n !== 0n) throw refuse('its virtual size is no multiple of 512');
  if (header.readUInt32BE(32) !== 0) throw refuse('it is encrypted. Decrypt it first');
  if (header.readUInt32BE(60) !== 0) throw refuse('it holds internal snapshots. Leave them out: qemu-img convert -O qcow2 IN OUT');

  const extended = version === 3 ? await checkVersion3(file, header, clusterBytes, fileBytes) : false;
  const entryBytes = extended ? 16 : 8;
  checkL1(header, Number(virtualSize), clusterBytes, entryBytes, fileBytes);
  checkRefcountTable(header, clusterBytes, fileBytes);
  return { version, virtualSizeBytes: Number(virtualSize), clusterBytes };
}

/** Answers whether L2 entries are extended. */
async function checkVersion3(file: Octets, header: Buffer, clusterBytes: number, fileBytes: number): Promise<boolean> {
  const features = header.readBigUInt64BE(72);
  if ((features & incompatible.externalData) !== 0n) throw refuse('its data lie in another file');
  if ((features & incompatible.corrupt) !== 0n) throw refuse('it is marked corrupt');
  if ((features & incompatible.dirty) !== 0n) throw refuse('it was not closed cleanly. Mend it first: qemu-img check -r all FILE');
  const known = incompatible.compressionType | incompatible.extendedL2;
  if ((features & ~known) !== 0n) throw refuse(`it uses features this control plane does not know (0x${features.toString(16)})`);
  const refcountOrder = header.readUInt32BE(96);
  if (refcountOrder > 6) throw refuse(`its reference counts have 2^${refcountOrder} bits; at most 2^6 are possible`);
  const headerLength = header.readUInt32BE(100);
  if (headerLength < headerBytes || headerLength % 8 !== 0 || headerLength > clusterBytes)
    throw refuse(`its header has ${headerLength} bytes`);
  if ((features & incompatible.compressionType) !== 0n) {
    const type = await readAt(file, headerBytes, 1);
    if (headerLength <= headerBytes || (type[0] ?? 255) > 1) throw refuse('its compression is neither zlib nor zstd');
  }
  await checkExtensions(file, headerLength, Math.min(clusterBytes, fileBytes));
  return (features & incompatible.extendedL2) !== 0n;
}

async function checkExtensions(file: Octets, start: number, end: number): Promise<void> {
  let at = start;
  while (at + 8 <= end) {
    const head = await readAt(file, at, 8);
    const type = head.readUInt32BE(0);
    const length = head.readUInt32BE(4);
    switch (type) {
      case extensions.end:
        return;
      case extensions.featureNames:
      case extensions.backingFormat:
        break;
      case extensions.externalData:
        throw refuse('it names an external data file');
      case extensions.encryption:
        throw refuse('it is encrypted. Decrypt it first');
      case extensions.bitmaps:
        throw refuse('it holds dirty bitmaps. Leave them out: qemu-img convert -O qcow2 IN OUT');
      default:
        throw refuse(`it has a header extension this control plane does not know (0x${type.toString(16)})`);
    }
    if (length > end - at - 8) throw refuse('a header extension is longer than its header');
    at += 8 + Math.ceil(length / 8) * 8;
  }
}

function checkL1(header: Buffer, virtualSize: number, clusterBytes: number, entryBytes: number, fileBytes: number): void {
  const entries = header.readUInt32BE(36);
  const offset = header.readBigUInt64BE(40);
  const perEntry = (clusterBytes / entryBytes) * clusterBytes;
  const needed = Math.ceil(virtualSize / perEntry);
  if (entries < needed) throw refuse(`its L1 table has ${entries} entries where its size needs ${needed}`);
  if (entries * 8 > maxL1Bytes) throw refuse(`its L1 table of ${entries} entries is absurd`);
  checkTable('L1 table', offset, entries * 8, clusterBytes, fileBytes);
}

function checkRefcountTable(header: Buffer, clusterBytes: number, fileBytes: number): void {
  const offset = header.readBigUInt64BE(48);
  const bytes = header.readUInt32BE(56) * clusterBytes;
  if (bytes === 0) throw refuse('it has no reference counts');
  if (bytes > maxRefcountTableBytes) throw refuse(`its reference count table of ${bytes} bytes is absurd`);
  checkTable('reference count table', offset, bytes, clusterBytes, fileBytes);
}

function checkTable(what: string, offset: bigint, bytes: number, clusterBytes: number, fileBytes: number): void {
  if (offset === 0n || offset % BigInt(clusterBytes) !== 0n) throw refuse(`its ${what} begins inside a cluster`);
  if (offset + BigInt(bytes) > BigInt(fileBytes)) throw refuse(`its ${what} lies beyond the end of the file; the file is cut short`);
}

async function readAt(file: Octets, position: number, length: number): Promise<Buffer> {
  const buffer = Buffer.alloc(length);
  const { bytesRead } = await file.read(buffer, 0, length, position);
  if (bytesRead < length) throw refuse('its header is cut short');
  return buffer;
}
