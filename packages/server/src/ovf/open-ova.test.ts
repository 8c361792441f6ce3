import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtemp, open, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { tarHeader } from '@virt8ra/contract';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { emptyQcow2 } from '../artifacts/testing/qcow2-image.js';
import { type OvaMachine, openOva } from './open-ova.js';
import { controller, cpu, descriptorOf, diskEntry, diskItem, makeOva, makeTar, memory } from './testing/make-ova.js';
import { writeOva } from './write-ova.js';

const disk = emptyQcow2(16 * 1024 * 1024);
const limits = { maxVirtualBytes: 1e9 };
const descriptor = descriptorOf({
  files: `<File ovf:id="f1" ovf:href="web-disk1.qcow2" ovf:size="${disk.length}"/>`,
  disks: diskEntry('d1', 'f1', 16, 'byte * 2^20'),
  items: `${cpu(1)}${memory(512)}${controller(3, 6, 'lsilogic')}${diskItem(9, 'd1', 3, 0)}`,
});
const disks = [{ name: 'web-disk1.qcow2', content: disk }];

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'virt8ra-ova-'));
});
afterAll(async () => await rm(folder, { recursive: true, force: true }));

async function opened(ova: Buffer): Promise<OvaMachine> {
  const path = join(folder, 'some.ova');
  await writeFile(path, ova);
  const file = await open(path, 'r');
  try {
    return await openOva(file, ova.length, limits);
  } finally {
    await file.close();
  }
}
const changed = (change: (ova: Buffer) => void): Buffer => {
  const ova = makeOva(descriptor, disks);
  change(ova);
  return ova;
};
const renamed = (name: string, type = '0'): Buffer => {
  const header = Buffer.from(tarHeader('x', 0));
  header.fill(0, 0, 100).write(name, 0);
  header.write(type, 156);
  header.write('        ', 148);
  const sum = header.reduce((all, octet) => all + octet, 0);
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  return Buffer.concat([header, makeOva(descriptor, disks)]);
};

describe('an OVA', () => {
  it('is read with its manifest, and says where the octets of its disks lie', async () => {
    const ova = makeOva(descriptor, disks);
    const machine = await opened(ova);
    expect(machine).toMatchObject({
      name: 'web & shop',
      vCPU: 1,
      disks: [{ file: 'web-disk1.qcow2', content: { format: 'qcow2', virtualSizeBytes: 16 * 1024 * 1024 } }],
    });
    const { offset = 0, bytes = 0 } = machine.disks[0]?.content ?? {};
    expect(ova.subarray(offset, offset + bytes).equals(disk)).toBe(true);
    expect(JSON.parse(JSON.stringify(machine))).toEqual(machine);
  });

  it('is read as tar itself writes it, in its forms, and without a manifest', async () => {
    await writeFile(join(folder, 'web.ovf'), descriptor);
    await writeFile(join(folder, 'web-disk1.qcow2'), disk);
    for (const form of ['ustar', 'gnu', 'posix']) {
      execFileSync('tar', [`--format=${form}`, '-cf', `${form}.ova`, './web.ovf', 'web-disk1.qcow2'], { cwd: folder });
      const machine = await opened(await readFile(join(folder, `${form}.ova`)));
      expect(machine.disks[0]?.content?.bytes, form).toBe(disk.length);
      expect(machine.findings.map(({ code }) => code)).toContain('no-manifest');
    }
  });

  it('that is written is read again, by tar as well', async () => {
    const path = join(folder, 'written.ova');
    const file = await open(path, 'w+');
    const machine = {
      name: 'web',
      vCPU: 2,
      memoryMiB: 1024,
      boot: 'BIOS' as const,
      nics: [],
      disks: [{ file: 'web-disk1.vmdk', fileBytes: disk.length, virtualSizeBytes: 16 * 1024 * 1024 }],
    };
    await writeOva(file, { machine, digests: [createHash('sha256').update(disk).digest('hex')], open: async () => Readable.from([disk]) });
    const { size } = await file.stat();
    expect(await openOva(file, size, limits)).toMatchObject({
      name: 'web',
      vCPU: 2,
      boot: 'BIOS',
      disks: [{ content: { format: 'qcow2' } }],
    });
    await file.close();
    expect(execFileSync('tar', ['-tf', path], { encoding: 'utf8' }).split('\n').slice(0, 3)).toEqual([
      'web.ovf',
      'web.mf',
      'web-disk1.vmdk',
    ]);
    expect(execFileSync('tar', ['-xOf', path, 'web-disk1.vmdk']).equals(disk)).toBe(true);
  });

  const bare = (files: Parameters<typeof makeTar>[0]) => makeTar(files);
  const ovf = { name: 'web.ovf', content: Buffer.from(descriptor) };
  it.each([
    ['leads out of its folder', () => renamed('../../../etc/cron.d/x'), 'leads elsewhere'],
    ['leads to the root', () => renamed('/etc/passwd'), 'leads elsewhere'],
    ['holds a symbolic link', () => renamed('web-disk1.vmdk', '2'), 'link'],
    ['holds a hard link', () => renamed('web-disk1.vmdk', '1'), 'link'],
    ['holds a directory', () => renamed('folder', '5'), 'directory'],
    ['holds a device', () => renamed('disk', '4'), 'device'],
    ['holds a name with control characters', () => renamed('a\u001b[2Jb'), 'leads elsewhere'],
    ['has two files of one name', () => bare([ovf, ovf, ...disks]), 'two files'],
    ['has two descriptors', () => bare([ovf, { ...ovf, name: 'b.ovf' }, ...disks]), '2 descriptors'],
    ['has no descriptor', () => bare(disks), '0 descriptors'],
    ['lacks a disk', () => bare([ovf]), 'is missing'],
    ['is cut short', () => makeOva(descriptor, disks).subarray(0, 20_000), 'cut short'],
    ['is no archive', () => Buffer.alloc(4096, 'x'), 'no tar archive'],
    ['is empty', () => Buffer.alloc(0), 'no tar archive'],
    ['has a disk that was changed', () => changed((ova) => void ova.write('x', ova.length - 4096)), 'is not what it says: its sha256'],
    ['has a disk of another length', () => makeOva(descriptor.replace(`"${disk.length}"`, '"77"'), disks), 'has 77 bytes'],
    [
      'has a disk that its manifest leaves out',
      () => bare([ovf, { name: 'web.mf', content: Buffer.alloc(0) }, ...disks]),
      'says nothing of',
    ],
    ['has a manifest of nonsense', () => bare([ovf, { name: 'web.mf', content: Buffer.from('MD5(a)= 00') }, ...disks]), 'names no digest'],
    [
      'has a manifest of what is not there',
      () => bare([ovf, { name: 'web.mf', content: Buffer.from(`SHA1(b)= ${'0'.repeat(40)}`) }, ...disks]),
      'not in the archive',
    ],
    ['has an absurd descriptor', () => bare([{ name: 'web.ovf', content: Buffer.alloc(2_000_000, ' ') }]), '1048576 are possible'],
    [
      'holds a disk that names another file',
      () => makeOva(descriptor.replace(/ ovf:size="\d+"/, ''), [{ name: 'web-disk1.qcow2', content: backed() }]),
      'web-disk1.qcow2: the qcow2 image is refused: it needs a backing file',
    ],
    [
      'holds an absurdly large disk',
      () => makeOva(descriptor.replace(/ ovf:size="\d+"/, ''), [{ name: 'web-disk1.qcow2', content: large() }]),
      'maxVirtualGB',
    ],
    ['says absurd sizes', () => changed((ova) => void ova.fill(0xff, 124, 136)), 'tar archive'],
  ])('is refused when it %s', async (_what, make, reason) => {
    await expect(opened(make())).rejects.toMatchObject({ kind: 'validation', message: expect.stringContaining(reason) });
  });

  it('whose descriptor makes a disk smaller than it is, is believed by its disk', async () => {
    const machine = await opened(makeOva(descriptor.replace('ovf:capacity="16"', 'ovf:capacity="4"'), disks));
    expect(machine.findings).toContainEqual(expect.objectContaining({ code: 'capacity', severity: 'warns' }));
    expect(machine.disks[0]?.content?.virtualSizeBytes).toBe(16 * 1024 * 1024);
  });
});

function backed(): Buffer {
  const image = Buffer.from(disk);
  image.writeBigUInt64BE(1024n, 8);
  image.writeUInt32BE(11, 16);
  image.write('/etc/shadow', 1024);
  return image;
}

function large(): Buffer {
  const image = Buffer.from(disk);
  image.writeBigUInt64BE(2n ** 60n, 24);
  return image;
}
