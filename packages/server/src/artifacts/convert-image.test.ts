import { execFileSync } from 'node:child_process';
import { mkdtemp, open, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { DiskFormat } from '@virt8ra/contract';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { convertDisk, type InspectedDisk, inspectDisk } from './convert-image.js';
import { hasQemuImg } from './qemu-img.js';

const lacks = hasQemuImg() ? [] : ['qemu-img'];
if (lacks.length > 0) process.stdout.write(`skipped: ${lacks.join(', ')} missing\n`);

const mebibyte = 1024 * 1024;
const limits = { maxVirtualBytes: 64 * mebibyte };
let folder: string;
/** Content of the disk in every format: some octets, a hole, and more octets at its end. */
let content: Buffer;

const qemuImg = (...args: string[]): string => execFileSync('qemu-img', args, { cwd: folder, encoding: 'utf8' });

describe.skipIf(lacks.length > 0)('disks of other formats', () => {
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'virt8ra-convert-'));
    content = Buffer.alloc(8 * mebibyte);
    content.fill('the content of a disk ', mebibyte, 2 * mebibyte);
    content.fill('its end ', 8 * mebibyte - 4096);
    await writeFile(join(folder, 'source.raw'), content);
    const make = (name: string, format: string, ...options: string[]): string =>
      qemuImg('convert', '-f', 'raw', '-O', format, ...options, 'source.raw', name);
    make('stream.vmdk', 'vmdk', '-o', 'subformat=streamOptimized');
    make('sparse.vmdk', 'vmdk', '-o', 'subformat=monolithicSparse');
    make('a.vhdx', 'vhdx');
    make('a.vhd', 'vpc', '-o', 'subformat=dynamic,force_size=on');
    make('fixed.vhd', 'vpc', '-o', 'subformat=fixed,force_size=on');
    make('a.qcow2', 'qcow2');
  });
  afterAll(async () => await rm(folder, { recursive: true, force: true }));

  /** As a part of a larger file, as disks of an OVA are. */
  const inside = async <Value>(
    octets: Buffer,
    work: (file: Awaited<ReturnType<typeof open>>, part: { offset: number; bytes: number }) => Promise<Value>,
  ) => {
    const path = join(folder, 'container');
    await writeFile(path, Buffer.concat([Buffer.alloc(1536, 'before'), octets, Buffer.alloc(1024, 'after')]));
    const file = await open(path, 'r');
    try {
      return await work(file, { offset: 1536, bytes: octets.length });
    } finally {
      await file.close();
    }
  };
  const inspected = async (octets: Buffer, declared?: DiskFormat): Promise<InspectedDisk> =>
    await inside(octets, async (file, part) => await inspectDisk(file, part, declared, limits));
  const converted = async (octets: Buffer, to: 'qcow2' | 'raw' | 'vmdk' = 'raw', bytes = 64 * mebibyte): Promise<string> =>
    await inside(octets, async (source, part) => {
      const path = join(folder, `converted.${to}`);
      await rm(path, { force: true });
      const target = await open(path, 'w+');
      await target.chmod(0o666);
      try {
        const disk = await inspectDisk(source, part, octets.length === content.length ? 'raw' : undefined, limits);
        await convertDisk({ source, part, disk, target, to, bytes });
        return path;
      } finally {
        await target.close();
      }
    });
  const changed = async (name: string, change: (octets: Buffer) => unknown): Promise<Buffer> => {
    const octets = await readFile(join(folder, name));
    change(octets);
    return octets;
  };

  it.each([
    ['stream.vmdk', 'vmdk'],
    ['sparse.vmdk', 'vmdk'],
    ['a.vhdx', 'vhdx'],
    ['a.vhd', 'vhd'],
    ['fixed.vhd', 'vhd'],
    ['a.qcow2', 'qcow2'],
    ['source.raw', 'raw'],
  ] as const)('reads %s out of the middle of a file and finds its content', async (name, format) => {
    const octets = await readFile(join(folder, name));
    expect(await inspected(octets, format)).toEqual({ format, virtualSizeBytes: content.length });
    expect((await readFile(await converted(octets))).equals(content)).toBe(true);
  });

  it('writes VMDK that others read, the same each time, and that says nothing of this machine', async () => {
    const path = await converted(await readFile(join(folder, 'a.qcow2')), 'vmdk');
    const first = await readFile(path);
    expect(qemuImg('compare', path, 'source.raw')).toContain('identical');
    expect(first.toString('latin1', 512, 2048)).toContain('RW 16384 SPARSE "disk.vmdk"');
    const second = await readFile(await converted(await readFile(join(folder, 'a.qcow2')), 'vmdk'));
    expect(second.equals(first)).toBe(true);
  });

  const texts = {
    replace: (from: RegExp, to: string) => (octets: Buffer) => {
      const text = octets.toString('latin1', 512, 512 + 20 * 512);
      octets.write(text.replace(from, to).slice(0, text.length), 512, 'latin1');
    },
  };
  type Refusal = readonly [what: string, name: string, change: (octets: Buffer) => unknown, reason: string];
  const refusals: readonly Refusal[] = [
    ['names a parent', 'sparse.vmdk', texts.replace(/^CID=.*$/m, 'parentFileNameHint="/etc/shadow"'), 'difference to another disk'],
    ['has a parent', 'sparse.vmdk', texts.replace(/parentCID=ffffffff/, 'parentCID=12345678'), 'difference to another disk'],
    [
      'names a parent behind the end of its descriptor',
      'sparse.vmdk',
      (o) => o.write('parentFileNameHint="/etc/shadow"', 512 + 19 * 512),
      'difference to another disk',
    ],
    ['names another file', 'sparse.vmdk', texts.replace(/^RW .*$/m, 'RW 16384 FLAT "/etc/shadow" 0'), 'names other files'],
    ['names a path', 'stream.vmdk', texts.replace(/"stream.vmdk"/, '"../a.vmdk"'), 'names other files'],
    ['is flat', 'sparse.vmdk', texts.replace(/monolithicSparse/, 'monolithicFlat'), 'monolithicFlat'],
    ['is a descriptor alone', 'sparse.vmdk', (o) => o.writeBigUInt64LE(0n, 12), 'other files'],
    ['is absurdly large', 'sparse.vmdk', (o) => o.writeBigUInt64LE(2n ** 40n, 12), 'maxVirtualGB'],
    ['says a size that nothing has', 'sparse.vmdk', (o) => o.writeBigUInt64LE(2n ** 63n, 12), 'absurd'],
    ['has a grain directory nowhere', 'sparse.vmdk', (o) => o.writeBigUInt64LE(2n ** 40n, 56), 'cut short'],
    ['has absurd grains', 'sparse.vmdk', (o) => o.writeBigUInt64LE(2n ** 30n, 20), 'grains'],
    ['went through a text transfer', 'sparse.vmdk', (o) => o.write('\r', 73), 'line ends'],
    ['is of a later version', 'sparse.vmdk', (o) => o.writeUInt32LE(9, 4), 'version 9'],
    ['has its directory at its end, where nothing is', 'stream.vmdk', (o) => o.writeBigUInt64LE(2n ** 64n - 1n, 56), 'footer is missing'],
    ['is the difference to another disk', 'a.vhd', (o) => differencing(o), 'difference to another disk'],
    ['is damaged at its end', 'a.vhd', (o) => o.write('x', o.length - 400), 'footer is damaged'],
    ['contradicts itself', 'a.vhd', (o) => o.write('x', 100), 'contradict'],
    ['is absurdly large', 'a.vhdx', (o) => o.writeBigUInt64LE(2n ** 50n, 3145728 + 65544), 'maxVirtualGB'],
    ['is the difference to another disk', 'a.vhdx', (o) => o.writeUInt32LE(2, 3145728 + 65540), 'difference to another disk'],
    ['has metadata nowhere', 'a.vhdx', (o) => o.fill(0, 192 * 1024, 256 * 1024), 'regions is missing'],
    ['has a backing file', 'a.qcow2', (o) => o.writeBigUInt64BE(1024n, 8), 'backing file'],
  ];
  it.each(refusals)('refuses what %s: %s', async (_what, name, change, reason) => {
    await expect(inspected(await changed(name, change))).rejects.toMatchObject({
      kind: 'validation',
      message: expect.stringContaining(reason),
    });
  });

  it('refuses what is called something else, and raw disks that nobody calls so', async () => {
    await expect(inspected(await readFile(join(folder, 'a.vhdx')), 'vmdk')).rejects.toThrow('is vhdx, not vmdk');
    await expect(inspected(content)).rejects.toThrow('is not qcow2, VMDK, VHDX or VHD');
    await expect(inspected(content, 'vmdk')).rejects.toThrow('is not vmdk');
    await expect(inspected(Buffer.from('# Disk DescriptorFile\nRW 1 FLAT "/etc/shadow" 0\n'.padEnd(1024)), 'raw')).rejects.toThrow(
      'names other files',
    );
    await expect(inspected(Buffer.alloc(0), 'raw')).rejects.toThrow('multiple of 512');
  });

  it('refuses what is cut short or damaged in the middle, and what does not fit', async () => {
    const stream = await readFile(join(folder, 'stream.vmdk'));
    await expect(converted(stream.subarray(0, 70_000))).rejects.toMatchObject({ kind: 'validation' });
    const damaged = Buffer.from(stream);
    const marker = damaged.indexOf(Buffer.from([0x78]), 65_536 + 12);
    damaged.fill(0xff, marker, marker + 60);
    await expect(converted(damaged)).rejects.toMatchObject({ kind: 'validation', message: expect.stringContaining('damaged') });
    await expect(converted(await readFile(join(folder, 'a.qcow2')), 'raw', 65_536)).rejects.toMatchObject({
      kind: expect.stringMatching(/exhausted|validation/),
    });
  });

  it('never fails but by a Problem, whatever stands in a VMDK header', { timeout: 60_000 }, async () => {
    const good = await readFile(join(folder, 'sparse.vmdk'));
    const change = fc.tuple(fc.integer({ min: 4, max: 1024 }), fc.integer({ min: 0, max: 255 }));
    await fc.assert(
      fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 6 }), async (changes) => {
        const octets = Buffer.from(good.subarray(0, 32 * 1024));
        for (const [at, value] of changes) octets.writeUInt8(value, at);
        return await inspected(octets).then(
          ({ virtualSizeBytes }) => virtualSizeBytes <= limits.maxVirtualBytes,
          (error: { kind?: string }) => error.kind === 'validation',
        );
      }),
      { seed: fc.readConfigureGlobal().seed ?? 42, numRuns: 100 },
    );
  });
});

/** Both footers say so, with the sum that belongs to it. */
function differencing(octets: Buffer): void {
  const footer = octets.subarray(octets.length - 512);
  footer.writeUInt32BE(4, 60);
  let sum = 0;
  for (const [at, octet] of footer.entries()) if (at < 64 || at >= 68) sum += octet;
  footer.writeUInt32BE(~sum >>> 0, 64);
  footer.copy(octets);
}
