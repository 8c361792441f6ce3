import type { Octets } from './octets.js';

/** What a file that should be a raw disk really is, by the marks other formats carry; undefined when none is found. */
export async function foreignFormat(file: Octets, fileBytes: number): Promise<string | undefined> {
  const head = await part(file, 0, 1024);
  const tail = await part(file, Math.max(0, fileBytes - 512), 512);
  return marks.find(({ at, bytes }) => (at < 0 ? tail : head).subarray(Math.max(at, 0)).subarray(0, bytes.length).equals(bytes))?.name;
}

/** `at` -1: the last 512 bytes. */
const marks: readonly { readonly name: string; readonly at: number; readonly bytes: Buffer }[] = [
  { name: 'qcow2', at: 0, bytes: Buffer.from('514649fb', 'hex') },
  { name: 'QED', at: 0, bytes: Buffer.from('QED\0') },
  { name: 'VMDK', at: 0, bytes: Buffer.from('KDMV') },
  { name: 'VMDK', at: 0, bytes: Buffer.from('COWD') },
  { name: 'a VMDK descriptor, which names other files', at: 0, bytes: Buffer.from('# Disk DescriptorFile') },
  { name: 'VHDX', at: 0, bytes: Buffer.from('vhdxfile') },
  { name: 'VHD', at: 0, bytes: Buffer.from('conectix') },
  { name: 'VHD', at: -1, bytes: Buffer.from('conectix') },
  { name: 'VDI', at: 0x40, bytes: Buffer.from('7f10dabe', 'hex') },
  { name: 'an encrypted LUKS disk', at: 0, bytes: Buffer.from('4c554b53babe', 'hex') },
  { name: 'Parallels', at: 0, bytes: Buffer.from('WithoutFreeSpace') },
  { name: 'Parallels', at: 0, bytes: Buffer.from('WithouFreSpacExt') },
  { name: 'Bochs', at: 0, bytes: Buffer.from('Bochs Virtual HD Image') },
  { name: 'cloop', at: 0, bytes: Buffer.from('#!/bin/sh\n#V2.0 Format') },
  { name: 'DMG', at: -1, bytes: Buffer.from('koly') },
  { name: 'compressed (gzip)', at: 0, bytes: Buffer.from('1f8b08', 'hex') },
  { name: 'compressed (xz)', at: 0, bytes: Buffer.from('fd377a585a00', 'hex') },
  { name: 'compressed (zstd)', at: 0, bytes: Buffer.from('28b52ffd', 'hex') },
  { name: 'compressed (bzip2)', at: 0, bytes: Buffer.from('BZh') },
  { name: 'a ZIP archive', at: 0, bytes: Buffer.from('504b0304', 'hex') },
  { name: 'a tar archive (perhaps an OVA)', at: 257, bytes: Buffer.from('ustar') },
];

async function part(file: Octets, position: number, length: number): Promise<Buffer> {
  const buffer = Buffer.alloc(length);
  const { bytesRead } = await file.read(buffer, 0, length, position);
  return buffer.subarray(0, bytesRead);
}
