import { createCipheriv, createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Client, UploadSource } from '@virt8ra/client';
import { imageImport } from '@virt8ra/contract';
import { settled, type Waiting } from './settled.js';

/** A disk to import: what it holds, how long it is, and its digest. */
export interface DiskContent extends UploadSource {
  readonly sha256: string;
  readonly format: 'qcow2' | 'raw';
}

/** The guest made by tools/guest/make-guest.sh. */
export async function guestDisk(root: string): Promise<DiskContent> {
  const folder = join(root, '.cache', 'guest');
  const made = JSON.parse(await readFile(join(folder, 'guest.json'), 'utf8')) as { image: string; sha256: string; bytes: number };
  const file = join(folder, made.image);
  return {
    format: 'qcow2',
    sha256: made.sha256,
    sizeBytes: made.bytes,
    read: (start, end) => createReadStream(file, { start, end: end - 1 }),
  };
}

const blockBytes = 1024 * 1024;

/** A disk full of octets that no codec makes smaller, the same every time: an AES keystream. */
export async function fullDisk(sizeBytes: number): Promise<DiskContent> {
  const zeros = Buffer.alloc(blockBytes);
  const block = (index: number) => {
    const counter = Buffer.alloc(16);
    counter.writeUInt32BE(index, 0);
    return createCipheriv('aes-128-ctr', 'virt8ra-demo-key', counter).update(zeros);
  };
  async function* read(start: number, end: number) {
    for (let at = start; at < end; ) {
      const index = Math.floor(at / blockBytes);
      const piece = block(index).subarray(at - index * blockBytes, Math.min(blockBytes, end - index * blockBytes));
      at += piece.length;
      yield piece;
    }
  }
  const hash = createHash('sha256');
  for await (const piece of read(0, sizeBytes)) hash.update(piece);
  return { format: 'raw', sha256: hash.digest('hex'), sizeBytes, read };
}

/** Brings a disk in and waits until its image is there. */
export async function importImage(client: Client, tenant: string, name: string, disk: DiskContent, waiting: Waiting): Promise<void> {
  const address = { tenant, name };
  await client.put(imageImport, address, {
    spec: {
      source: { upload: { sizeBytes: disk.sizeBytes, sha256: disk.sha256 } },
      format: disk.format,
      cpuArchitecture: 'amd64',
      boot: 'BIOS',
      initializer: disk.format === 'qcow2' ? 'cloudinit-22' : 'none',
    },
  });
  await client.upload(address, disk, { signal: waiting.signal });
  await settled(client, imageImport, address, ({ status }) => status?.phase === 'done', { ...waiting, what: `image ${name} is made` });
}
