import type { FileHandle } from 'node:fs/promises';
import { type DiskFormat, type ImportFinding, Problem } from '@virt8ra/contract';
import type { ImageLimits } from '../artifacts/artifact.js';
import { inspectDisk } from '../artifacts/convert-image.js';
import type { FilePart } from '../artifacts/octets.js';
import type { OvfDisk, OvfMachine } from './ovf-machine.js';
import { readManifest, verifyManifest } from './ovf-manifest.js';
import { readOvf } from './read-ovf.js';
import { readTarMembers, type TarMember } from './tar-members.js';

/** A disk of an OVA, and where its octets lie in it. */
export interface OvaDisk extends Pick<OvfDisk, 'id' | 'file' | 'bus' | 'capacityBytes'> {
  /** Absent: it is empty. */
  readonly content?: FilePart & { readonly format: DiskFormat; readonly virtualSizeBytes: number };
}

/** A machine in an OVA, after all of it was looked at. Plain JSON: it is journaled. */
export interface OvaMachine extends Omit<OvfMachine, 'disks'> {
  readonly disks: readonly OvaDisk[];
}

const textMost = 1024 * 1024;

const refuse = (reason: string): Problem => new Problem('validation', `the OVA is refused: ${reason}`);

/**
 * Reads an OVA: the archive, its manifest with the digests of all files, its descriptor, and the header of every disk. Raises `validation` with the reason when it
 * cannot be made into a machine.
 */
export async function openOva(
  file: FileHandle,
  fileBytes: number,
  limits: Pick<ImageLimits, 'maxVirtualBytes'>,
  signal?: AbortSignal,
): Promise<OvaMachine> {
  const members = await readTarMembers(file, fileBytes);
  const descriptors = members.filter(({ name }) => /\.ovf$/i.test(name));
  const [descriptor] = descriptors;
  if (descriptor === undefined || descriptors.length > 1) throw refuse(`it has ${descriptors.length} descriptors (.ovf), not one`);
  const findings: ImportFinding[] = [];
  const manifest =
    members.find(({ name }) => name === descriptor.name.replace(/\.ovf$/i, '.mf')) ?? members.find(({ name }) => /\.mf$/i.test(name));
  const lines = manifest === undefined ? [] : readManifest(await textOfMember(file, manifest));
  await verifyManifest(file, lines, members, signal);
  const machine = readOvf(await textOfMember(file, descriptor));
  if (manifest === undefined)
    findings.push({
      code: 'no-manifest',
      severity: 'info',
      what: 'it has no manifest, so that only the digest of the whole was checked',
      where: descriptor.name,
      mend: 'nothing',
    });
  if (members.some(({ name }) => /\.cert$/i.test(name)))
    findings.push({
      code: 'certificate',
      severity: 'info',
      what: 'it is signed; the signature is not checked here, the digests are',
      where: descriptor.name,
      mend: 'check it before it is sent, if it matters',
    });
  const disks: OvaDisk[] = [];
  for (const disk of machine.disks) {
    const { id, file: name, bus, capacityBytes } = disk;
    const member = name === undefined ? undefined : memberOf(members, name, disk);
    if (member === undefined) {
      disks.push({ id, bus, capacityBytes });
      continue;
    }
    if (manifest !== undefined && !lines.some((line) => line.name === member.name))
      throw refuse(`its manifest says nothing of ${JSON.stringify(member.name)}`);
    const part = { offset: member.offset, bytes: member.bytes };
    const seen = await inspectDisk(file, part, disk.isRaw ? 'raw' : undefined, limits).catch((error: unknown) => {
      if (error instanceof Problem) throw new Problem(error.kind, `${member.name}: ${error.message}`, { facts: error.facts, cause: error });
      throw error;
    });
    if (capacityBytes < seen.virtualSizeBytes)
      findings.push({
        code: 'capacity',
        severity: 'warns',
        what: `the descriptor says that disk ${id} has ${capacityBytes} bytes, and it has ${seen.virtualSizeBytes}; the disk is believed`,
        where: member.name,
        mend: 'nothing, unless the file is not the one that was meant',
      });
    disks.push({ id, file: member.name, bus, capacityBytes, content: { ...part, ...seen } });
  }
  return { ...machine, disks, findings: [...machine.findings, ...findings] };
}

function memberOf(members: readonly TarMember[], name: string, { fileBytes }: OvfDisk): TarMember {
  const member = members.find((each) => each.name === name);
  if (member === undefined) throw refuse(`${JSON.stringify(name)} is missing`);
  if (fileBytes !== undefined && fileBytes !== member.bytes)
    throw refuse(
      `the descriptor says that ${JSON.stringify(name)} has ${fileBytes} bytes, and it has ${member.bytes}: it is cut short or not the one that was meant`,
    );
  if (member.bytes === 0) throw refuse(`${JSON.stringify(name)} is empty`);
  return member;
}

async function textOfMember(file: FileHandle, { name, offset, bytes }: TarMember): Promise<string> {
  if (bytes > textMost) throw refuse(`${JSON.stringify(name)} has ${bytes} bytes; ${textMost} are possible`);
  const buffer = Buffer.alloc(bytes);
  await file.read(buffer, 0, bytes, offset);
  return buffer.toString('utf8');
}
