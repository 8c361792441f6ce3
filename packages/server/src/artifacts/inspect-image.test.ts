import { execFileSync } from 'node:child_process';
import { mkdtemp, open, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { inspectImage } from './inspect-image.js';
import { readQcow2Header } from './qcow2-header.js';
import { hasQemuImg } from './qemu-img.js';
import { changed, emptyQcow2, field, withExtension } from './testing/qcow2-image.js';

const limits = { maxImageBytes: 1e9, maxVirtualBytes: 1e12 };

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'virt8ra-images-'));
});
afterAll(async () => await rm(folder, { recursive: true, force: true }));

async function inspect(path: string, declared?: 'qcow2' | 'raw', within = limits) {
  const file = await open(path, 'r');
  try {
    return await inspectImage(file, declared, within);
  } finally {
    await file.close();
  }
}

async function inspectBytes(content: Buffer, declared?: 'qcow2' | 'raw') {
  const path = join(folder, 'image');
  await writeFile(path, content, { mode: 0o644 });
  return await inspect(path, declared);
}

const good = emptyQcow2();

describe('image inspection', () => {
  it('accepts a plain qcow2 image of either version', async () => {
    const version2 = changed(good, (image) => {
      image.writeUInt32BE(2, field.version);
      image.fill(0, 72, 112);
    });

    expect(await inspectBytes(good)).toEqual({ format: 'qcow2', virtualSizeBytes: 1_048_576, fileBytes: good.length });
    expect(await inspectBytes(version2, 'qcow2')).toMatchObject({ format: 'qcow2', virtualSizeBytes: 1_048_576 });
  });

  it('accepts a raw disk only when it is declared', async () => {
    const disk = Buffer.alloc(1024 * 512, 7);

    expect(await inspectBytes(disk, 'raw')).toEqual({ format: 'raw', virtualSizeBytes: disk.length, fileBytes: disk.length });
    await expect(inspectBytes(disk)).rejects.toMatchObject({ kind: 'validation', message: expect.stringContaining('format: raw') });
    await expect(inspectBytes(disk, 'qcow2')).rejects.toThrow('is not qcow2');
  });

  it.each<{ title: string; image: Buffer; reason: string }>([
    { title: 'an empty file', image: Buffer.alloc(0), reason: 'empty' },
    { title: 'a header cut short', image: good.subarray(0, 50), reason: 'no complete qcow2 header' },
    { title: 'an unknown version', image: changed(good, (it) => it.writeUInt32BE(4, field.version)), reason: 'version 4' },
    {
      title: 'a backing file',
      image: changed(good, (it) => {
        it.writeBigUInt64BE(512n, field.backingOffset);
        it.writeUInt32BE(11, field.backingSize);
        it.write('/etc/shadow', 512);
      }),
      reason: 'backing file',
    },
    {
      title: 'a backing file of no length',
      image: changed(good, (it) => it.writeBigUInt64BE(512n, field.backingOffset)),
      reason: 'backing file',
    },
    { title: 'an external data file', image: changed(good, (it) => it.writeBigUInt64BE(4n, field.incompatible)), reason: 'another file' },
    {
      title: 'the name of an external data file',
      image: withExtension(good, 0x44415441, Buffer.from('/etc/shadow')),
      reason: 'external data file',
    },
    { title: 'the corrupt mark', image: changed(good, (it) => it.writeBigUInt64BE(2n, field.incompatible)), reason: 'marked corrupt' },
    { title: 'the dirty mark', image: changed(good, (it) => it.writeBigUInt64BE(1n, field.incompatible)), reason: 'not closed cleanly' },
    {
      title: 'an unknown feature',
      image: changed(good, (it) => it.writeBigUInt64BE(1n << 40n, field.incompatible)),
      reason: 'does not know',
    },
    { title: 'AES encryption', image: changed(good, (it) => it.writeUInt32BE(1, field.crypt)), reason: 'encrypted' },
    { title: 'LUKS encryption', image: withExtension(good, 0x0537be77, Buffer.alloc(16)), reason: 'encrypted' },
    { title: 'dirty bitmaps', image: withExtension(good, 0x23852875, Buffer.alloc(24)), reason: 'dirty bitmaps' },
    { title: 'an unknown extension', image: withExtension(good, 0x12345678, Buffer.alloc(8)), reason: 'extension' },
    { title: 'internal snapshots', image: changed(good, (it) => it.writeUInt32BE(65_536, field.snapshots)), reason: 'snapshots' },
    { title: 'tiny clusters', image: changed(good, (it) => it.writeUInt32BE(8, field.clusterBits)), reason: 'clusters' },
    { title: 'huge clusters', image: changed(good, (it) => it.writeUInt32BE(63, field.clusterBits)), reason: 'clusters' },
    { title: 'no size', image: changed(good, (it) => it.writeBigUInt64BE(0n, field.size)), reason: 'virtual size is 0' },
    { title: 'an odd size', image: changed(good, (it) => it.writeBigUInt64BE(1000n, field.size)), reason: 'multiple of 512' },
    { title: 'an absurd size', image: changed(good, (it) => it.writeBigUInt64BE(1n << 62n, field.size)), reason: 'virtual size' },
    { title: 'a size with the sign bit', image: changed(good, (it) => it.writeBigUInt64BE(1n << 63n, field.size)), reason: 'virtual size' },
    {
      title: 'too small an L1 table',
      image: changed(good, (it) => it.writeUInt32BE(0, field.l1Entries)),
      reason: 'L1 table has 0 entries',
    },
    { title: 'an absurd L1 table', image: changed(good, (it) => it.writeUInt32BE(0xffffffff, field.l1Entries)), reason: 'absurd' },
    {
      title: 'an L1 table beyond the file',
      image: changed(good, (it) => it.writeBigUInt64BE(1n << 40n, field.l1Offset)),
      reason: 'beyond the end',
    },
    {
      title: 'an L1 table inside a cluster',
      image: changed(good, (it) => it.writeBigUInt64BE(100n, field.l1Offset)),
      reason: 'inside a cluster',
    },
    { title: 'no reference counts', image: changed(good, (it) => it.writeUInt32BE(0, field.refcountClusters)), reason: 'reference counts' },
    {
      title: 'an absurd reference count table',
      image: changed(good, (it) => it.writeUInt32BE(1_000_000, field.refcountClusters)),
      reason: 'absurd',
    },
    {
      title: 'absurd reference counts',
      image: changed(good, (it) => it.writeUInt32BE(7, field.refcountOrder)),
      reason: 'reference counts',
    },
    { title: 'a wrong header length', image: changed(good, (it) => it.writeUInt32BE(96, field.headerLength)), reason: '96 bytes' },
    {
      title: 'an extension longer than its header',
      image: changed(withExtension(good, 0x6803f857, Buffer.alloc(8)), (it) => it.writeUInt32BE(0x7fffffff, field.extensions + 4)),
      reason: 'longer',
    },
    {
      title: 'unknown compression',
      image: changed(good, (it) => {
        it.writeBigUInt64BE(8n, field.incompatible);
        it.writeUInt8(9, field.compression);
      }),
      reason: 'compression',
    },
  ])('refuses qcow2 with $title', async ({ image, reason }) => {
    await expect(inspectBytes(image)).rejects.toMatchObject({ kind: 'validation', message: expect.stringContaining(reason) });
  });

  it.each([
    { title: 'qcow2', mark: good },
    { title: 'VMDK', mark: Buffer.from('KDMV') },
    { title: 'a VMDK descriptor', mark: Buffer.from('# Disk DescriptorFile\nversion=1') },
    { title: 'VHDX', mark: Buffer.from('vhdxfile') },
    { title: 'VDI', mark: Buffer.concat([Buffer.alloc(0x40), Buffer.from('7f10dabe', 'hex')]) },
    { title: 'QED', mark: Buffer.from('QED\0') },
    { title: 'LUKS', mark: Buffer.from('4c554b53babe0001', 'hex') },
    { title: 'gzip', mark: Buffer.from('1f8b0800', 'hex') },
    { title: 'xz', mark: Buffer.from('fd377a585a00', 'hex') },
    { title: 'a tar archive', mark: Buffer.concat([Buffer.alloc(257), Buffer.from('ustar')]) },
    { title: 'VHD', mark: Buffer.concat([Buffer.alloc(16_384 - 512), Buffer.from('conectix')]) },
  ])('refuses $title that is declared raw', async ({ mark }) => {
    const disk = Buffer.alloc(Math.max(16_384, Math.ceil(mark.length / 512) * 512));
    mark.copy(disk);

    await expect(inspectBytes(disk, 'raw')).rejects.toMatchObject({
      kind: 'validation',
      message: expect.stringContaining('qemu-img convert'),
    });
  });

  it('refuses a raw disk of broken sectors, and whatever is beyond the limits', async () => {
    await expect(inspectBytes(Buffer.alloc(1000, 1), 'raw')).rejects.toThrow('multiple of 512');
    const path = join(folder, 'limited');
    await writeFile(path, Buffer.alloc(8192, 1));
    await expect(inspect(path, 'raw', { maxImageBytes: 4096, maxVirtualBytes: 1e12 })).rejects.toThrow('maxImageGB');
    await expect(inspect(path, 'raw', { maxImageBytes: 1e9, maxVirtualBytes: 4096 })).rejects.toThrow('maxVirtualGB');
  });

  it('never fails but by a Problem, whatever stands in the header', { timeout: 60_000 }, async () => {
    const path = join(folder, 'random');
    const change = fc.tuple(fc.integer({ min: 4, max: 200 }), fc.integer({ min: 0, max: 255 }));
    await fc.assert(
      fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 6 }), async (changes) => {
        await writeFile(
          path,
          changed(good, (image) => {
            for (const [at, value] of changes) image.writeUInt8(value, at);
          }),
        );
        const file = await open(path, 'r');
        const outcome = await readQcow2Header(file, good.length, limits.maxVirtualBytes).then(
          (header) => header.virtualSizeBytes % 512 === 0 && header.virtualSizeBytes <= limits.maxVirtualBytes,
          (error: { kind?: string }) => error.kind === 'validation',
        );
        await file.close();
        return outcome;
      }),
      { seed: fc.readConfigureGlobal().seed ?? 42, numRuns: 300 },
    );
  });
});

describe.skipIf(!hasQemuImg())('image inspection with qemu-img', () => {
  const make = (...args: string[]): string => {
    execFileSync('qemu-img', args, { cwd: folder, stdio: 'pipe' });
    return join(folder, args.at(-1)?.endsWith('M') === true ? (args.at(-2) ?? '') : (args.at(-1) ?? ''));
  };

  it('accepts what qemu-img makes, with any of its options', async () => {
    await writeFile(join(folder, 'source.raw'), Buffer.alloc(3 * 1024 * 1024, 'content'));
    for (const options of ['compat=0.10', 'compat=1.1', 'cluster_size=4k', 'compression_type=zstd', 'extended_l2=on,cluster_size=128k']) {
      const path = make(
        'convert',
        '-c',
        '-f',
        'raw',
        '-O',
        'qcow2',
        '-o',
        options,
        'source.raw',
        `made-${options.replaceAll(/\W/g, '-')}.qcow2`,
      );
      expect(await inspect(path), options).toMatchObject({ format: 'qcow2', virtualSizeBytes: 3 * 1024 * 1024 });
    }
  });

  it('refuses a real overlay, a real external data file and a real encrypted image', async () => {
    make('create', '-q', '-f', 'qcow2', 'base.qcow2', '8M');
    const overlay = make('create', '-q', '-f', 'qcow2', '-b', 'base.qcow2', '-F', 'qcow2', 'overlay.qcow2');
    const external = make('create', '-q', '-f', 'qcow2', '-o', 'data_file=outside.raw', 'external.qcow2', '8M');
    const encrypted = make(
      'create',
      '-q',
      '--object',
      'secret,id=s,data=abc',
      '-f',
      'qcow2',
      '-o',
      // Not luks: QEMU measures the machine to make its key, and fails on a busy one.
      'encrypt.format=aes,encrypt.key-secret=s',
      'encrypted.qcow2',
      '8M',
    );

    await expect(inspect(overlay)).rejects.toThrow('backing file');
    await expect(inspect(external)).rejects.toThrow('another file');
    await expect(inspect(encrypted)).rejects.toThrow('encrypted');
  });

  it('refuses an image whose tables overlap, which no header shows', async () => {
    const image = changed(good, (it) => it.writeBigUInt64BE((1n << 63n) | 65_536n, 3 * 65_536));

    await expect(inspectBytes(image)).rejects.toMatchObject({ kind: 'validation', message: expect.stringContaining('qemu-img check') });
  });
});
