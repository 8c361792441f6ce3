const clusterBytes = 65_536;
const entriesPerTable = clusterBytes / 8;

/**
 * An empty qcow2 image of version 3: what a disk holds that nobody has written to. The same octets for the same size (format: QEMU
 * docs/interop/qcow2.rst): header, refcount table, one refcount block, L1 table.
 */
export function blankDisk(virtualSizeBytes: number): Buffer {
  const l1Entries = Math.ceil(virtualSizeBytes / (clusterBytes * entriesPerTable));
  const l1Clusters = Math.max(1, Math.ceil(l1Entries / entriesPerTable));
  const clusters = 3 + l1Clusters;
  const image = Buffer.alloc(clusters * clusterBytes);
  image.write('514649fb', 0, 'hex');
  image.writeUInt32BE(3, 4);
  image.writeUInt32BE(Math.log2(clusterBytes), 20);
  image.writeBigUInt64BE(BigInt(virtualSizeBytes), 24);
  image.writeUInt32BE(l1Entries, 36);
  image.writeBigUInt64BE(BigInt(3 * clusterBytes), 40);
  image.writeBigUInt64BE(BigInt(clusterBytes), 48);
  image.writeUInt32BE(1, 56);
  image.writeUInt32BE(4, 96);
  image.writeUInt32BE(112, 100);
  image.writeBigUInt64BE(BigInt(2 * clusterBytes), clusterBytes);
  for (let cluster = 0; cluster < clusters; cluster += 1) image.writeUInt16BE(1, 2 * clusterBytes + cluster * 2);
  return image;
}
