import type { FileHandle } from 'node:fs/promises';
import { type DiskFormat, type ExportFormat, Problem } from '@virt8ra/contract';
import type { ImageLimits } from './artifact.js';
import { foreignFormat } from './foreign-format.js';
import { readVhdFooter, readVhdxHeader, vhdMagic, vhdxMagic } from './microsoft-disk.js';
import { type FilePart, octetsOfPart } from './octets.js';
import { qcow2Magic, readQcow2Header } from './qcow2-header.js';
import { hasQemuImg, runQemuImg } from './qemu-img.js';
import { readVmdkHeader, vmdkMagic } from './vmdk-header.js';

/** What a part of a file is, after its header was found sane. */
export interface InspectedDisk {
  readonly format: DiskFormat;
  readonly virtualSizeBytes: number;
}

/** QEMU's words for formats, and the options with which each reads nothing but its own octets. */
const readers: Readonly<Record<DiskFormat, string>> = {
  qcow2: 'driver=qcow2,backing=',
  raw: 'driver=raw',
  vmdk: 'driver=vmdk,backing=',
  vhdx: 'driver=vhdx',
  vhd: 'driver=vpc,force_size_calc=current_size',
};

const writers: Readonly<Record<Exclude<ExportFormat, 'ova'>, readonly string[]>> = {
  qcow2: ['-O', 'qcow2'],
  raw: ['-O', 'raw'],
  vmdk: ['-O', 'vmdk', '-o', 'subformat=streamOptimized,adapter_type=lsilogic'],
};

/** The slowest reader that is waited for. */
const bytesPerSecond = 2e6;

/**
 * Decides by our own readers what a part of a stranger's file is, before QEMU opens it. `declared` is what its owner says; a raw disk is one only if that is said.
 * Raises `validation` with the reason.
 */
export async function inspectDisk(
  file: FileHandle,
  part: FilePart,
  declared: DiskFormat | undefined,
  { maxVirtualBytes }: Pick<ImageLimits, 'maxVirtualBytes'>,
): Promise<InspectedDisk> {
  const octets = octetsOfPart(file, part);
  const start = Buffer.alloc(8);
  await octets.read(start, 0, 8, 0);
  const end = Buffer.alloc(8);
  await octets.read(end, 0, 8, Math.max(0, part.bytes - 512));
  const seen: DiskFormat | undefined = start.subarray(0, 4).equals(qcow2Magic)
    ? 'qcow2'
    : start.subarray(0, 4).equals(vmdkMagic)
      ? 'vmdk'
      : start.equals(vhdxMagic)
        ? 'vhdx'
        : end.equals(vhdMagic)
          ? 'vhd'
          : undefined;
  if (declared !== undefined && seen !== undefined && seen !== declared)
    throw new Problem('validation', `the image is ${seen}, not ${declared} as it is called`);
  switch (seen) {
    case 'qcow2':
      return { format: seen, virtualSizeBytes: (await readQcow2Header(octets, part.bytes, maxVirtualBytes)).virtualSizeBytes };
    case 'vmdk':
      return { format: seen, ...(await readVmdkHeader(octets, part.bytes, maxVirtualBytes)) };
    case 'vhdx':
      return { format: seen, ...(await readVhdxHeader(octets, part.bytes, maxVirtualBytes)) };
    case 'vhd':
      return { format: seen, ...(await readVhdFooter(octets, part.bytes, maxVirtualBytes)) };
    case undefined:
      break;
  }
  const foreign = await foreignFormat(octets, part.bytes);
  if (foreign !== undefined) throw new Problem('validation', `the image is ${foreign}, not ${declared ?? 'a disk that can be read'}`);
  if (declared !== 'raw') throw new Problem('validation', `the image is not ${declared ?? 'qcow2, VMDK, VHDX or VHD'}`);
  if (part.bytes === 0 || part.bytes % 512 !== 0)
    throw new Problem('validation', `a raw disk is a multiple of 512 bytes; this one has ${part.bytes}`);
  if (part.bytes > maxVirtualBytes)
    throw new Problem(
      'validation',
      `the disk has ${part.bytes} bytes, more than the ${maxVirtualBytes} this control plane accepts (artifacts.maxVirtualGB)`,
    );
  return { format: 'raw', virtualSizeBytes: part.bytes };
}

export interface Conversion {
  readonly source: FileHandle;
  readonly part: FilePart;
  readonly disk: InspectedDisk;
  readonly target: FileHandle;
  readonly to: Exclude<ExportFormat, 'ova'>;
  /** What may be written at most. */
  readonly bytes: number;
  readonly signal?: AbortSignal;
  readonly onPercent?: (percent: number) => void;
}

/**
 * Writes a disk anew in another format, and reads both to their ends to see that they are equal: that, and not its exit code, is what it went well by. `inspectDisk` comes
 * first. Raises `validation` when it cannot be read, `exhausted` when there is no room, `unsupported` without qemu-img.
 */
export async function convertDisk({ source, part, disk, target, to, bytes, signal, onPercent }: Conversion): Promise<void> {
  if (!hasQemuImg())
    throw new Problem('unsupported', 'this control plane has no qemu-img to convert disks with; install qemu-utils beside the server');
  const timeoutMs = Math.min(2 ** 31 - 1, Math.ceil(600_000 + (Math.max(part.bytes, disk.virtualSizeBytes / 16) / bytesPerSecond) * 1000));
  const from = (name: string): string =>
    `${name},file.driver=raw,file.offset=${part.offset},file.size=${part.bytes},file.file.driver=file,file.file.filename=/proc/self/fd/3`;
  const reader = from(readers[disk.format]);
  const run = { source, timeoutMs, ...(signal === undefined ? {} : { signal }) };
  const converted = await runQemuImg(['convert', '-p', '-U', '--image-opts', ...writers[to], reader, '/proc/self/fd/4'], {
    ...run,
    target: { file: target, bytes },
    ...(onPercent === undefined ? {} : { onPercent }),
  });
  if (converted.code !== 0) throw unreadable(disk, converted.complaint);
  if (to === 'vmdk') await settleDescriptor(target);
  await target.datasync();
  const back = `driver=${to},file.driver=file,file.filename=/proc/self/fd/4`;
  const compared = await runQemuImg(['compare', '-U', '--image-opts', reader, back], { ...run, target: { file: target, bytes: 0 } });
  if (compared.code !== 0)
    throw new Problem('validation', 'the image is refused: what was read of it a second time differs from the first', {
      facts: { complaint: compared.complaint.slice(0, 500) },
    });
}

/** QEMU writes the name of what it wrote to and a number by chance: a file that goes elsewhere says neither, and is the same each time. */
async function settleDescriptor(target: FileHandle): Promise<void> {
  const area = Buffer.alloc(20 * 512);
  await target.read(area, 0, area.length, 512);
  const text = area.toString('latin1').replace(/\0.*$/s, '');
  const settled = text.replace(/^CID=[0-9a-f]+$/m, 'CID=fffffffe').replace(/^(RW \d+ SPARSE) "[^"]*"$/m, '$1 "disk.vmdk"');
  if (settled.length < area.length) await target.write(Buffer.from(settled.padEnd(area.length, '\0'), 'latin1'), 0, area.length, 512);
}

function unreadable({ format }: InspectedDisk, complaint: string): Problem {
  const facts = { complaint: complaint.slice(0, 500) };
  if (/No space left|File too large/i.test(complaint))
    return new Problem('exhausted', 'the artifact store has no room for the converted disk', { facts, retryAfterSeconds: 60 });
  return new Problem('validation', `the ${format} image is refused: it is damaged or cut short, qemu-img cannot read all of it`, { facts });
}
