import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { makeDirectory } from '../disk/atomic-file.js';
import { type LocalExport, openLocalExport, settleEarlierExport } from './local-export.js';
import { allocationContext } from './nbd/extents.js';
import type { SourceDisk } from './send-plan.js';

/** The disks of a guest that does not run, read from their files. */
export interface ColdSource {
  readonly disks: readonly SourceDisk[];
  close(): Promise<void>;
}

/** Opens the files of each disk, newest on top, without writing to them. Raises Problem unsupported, unavailable or internal. */
export async function openColdSource(
  disks: readonly { readonly files: readonly string[] }[],
  runtimeDirectory: string,
): Promise<ColdSource> {
  await makeDirectory(runtimeDirectory, 0o711);
  const exports: LocalExport[] = [];
  const close = async () => {
    await Promise.allSettled(exports.map(async (entry) => await entry.close()));
  };
  try {
    for (const [disk, { files }] of disks.entries()) {
      const socket = join(runtimeDirectory, `r${disk}`);
      await settleEarlierExport(socket);
      exports.push(await openLocalExport({ access: 'read', files }, socket, [allocationContext]));
    }
  } catch (error) {
    await close();
    throw error;
  }
  return { disks: exports.map(({ client }) => ({ client })), close };
}

/** Changes when the files of the disks were replaced or written to. */
export async function fingerprintFiles(disks: readonly { readonly files: readonly string[] }[]): Promise<string> {
  const facts: string[] = [];
  for (const file of disks.flatMap(({ files }) => files)) {
    const { ino, size, mtimeNs, rdev } = await stat(file, { bigint: true });
    facts.push(`${file} ${ino} ${size} ${mtimeNs}${rdev === 0n ? '' : ` ${rdev}`}`);
  }
  return facts.join('\n');
}
