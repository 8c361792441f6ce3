/** Byte offsets in a qcow2 header (QEMU docs/interop/qcow2.rst). */
export const field = {
  version: 4,
  backingOffset: 8,
  backingSize: 16,
  clusterBits: 20,
  size: 24,
  crypt: 32,
  l1Entries: 36,
  l1Offset: 40,
  refcountOffset: 48,
  refcountClusters: 56,
  snapshots: 60,
  snapshotsOffset: 64,
  incompatible: 72,
  refcountOrder: 96,
  headerLength: 100,
  compression: 104,
  extensions: 112,
} as const;

const clusterBytes = 65_536;

/** A valid, empty qcow2 image of version 3 written by hand: header, refcount table, one refcount block, L1 table. */
export function emptyQcow2(virtualSizeBytes = 1_048_576): Buffer {
  const image = Buffer.alloc(4 * clusterBytes);
  image.write('514649fb', 0, 'hex');
  image.writeUInt32BE(3, field.version);
  image.writeUInt32BE(16, field.clusterBits);
  image.writeBigUInt64BE(BigInt(virtualSizeBytes), field.size);
  image.writeUInt32BE(Math.ceil(virtualSizeBytes / (clusterBytes * (clusterBytes / 8))), field.l1Entries);
  image.writeBigUInt64BE(BigInt(3 * clusterBytes), field.l1Offset);
  image.writeBigUInt64BE(BigInt(clusterBytes), field.refcountOffset);
  image.writeUInt32BE(1, field.refcountClusters);
  image.writeUInt32BE(4, field.refcountOrder);
  image.writeUInt32BE(112, field.headerLength);
  image.writeBigUInt64BE(BigInt(2 * clusterBytes), clusterBytes);
  for (let cluster = 0; cluster < 4; cluster += 1) image.writeUInt16BE(1, 2 * clusterBytes + cluster * 2);
  return image;
}

/** The image with a header extension of that type. */
export function withExtension(image: Buffer, type: number, content: Buffer): Buffer {
  const made = Buffer.from(image);
  made.writeUInt32BE(type, field.extensions);
  made.writeUInt32BE(content.length, field.extensions + 4);
  content.copy(made, field.extensions + 8);
  return made;
}

export function changed(image: Buffer, change: (copy: Buffer) => void): Buffer {
  const copy = Buffer.from(image);
  change(copy);
  return copy;
}
