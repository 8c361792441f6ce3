import { type Address, type BackupSpec, backup, Problem, type VolumeSource } from '@virt8ra/contract';
import type { StoreReader, StoreTransaction } from '../../resources/store.js';
import type { ResolvedReference, StoredResource } from '../../resources/stored-resource.js';
import type { RestoredFrom } from './status.js';

/** Names the backup that a block storage starts from: `NAME`, or `NAME/DISK` for one of several disks. */
export const backupExtension = 'virt8ra.backup';
export const backupPointer = `/extensions/${backupExtension}`;
const sources = [{ pointer: backupPointer }];

/** What a restore needs to know of a backup. */
interface Content {
  readonly phase?: string;
  readonly takenAt?: string;
  readonly volumes?: readonly {
    readonly blockStorageRef: { readonly resource: string };
    readonly sizeBytes: number;
    readonly sha256?: string;
    readonly fileBytes?: number;
    readonly cpuArchitecture?: 'amd64' | 'arm64';
    readonly boot?: 'UEFI' | 'BIOS';
  }[];
}

export interface Restore {
  readonly reference: ResolvedReference;
  readonly from: RestoredFrom;
}

/**
 * The content that a new block storage is to start from, if it asks for one. Raises `validation` for what is no such backup or disk, `conflict` for
 * a backup that is not done.
 */
export async function requestedRestore(
  tx: StoreTransaction,
  extensions: Readonly<Record<string, string>> | undefined,
  within: Omit<Address, 'name'>,
): Promise<Restore | undefined> {
  const wanted = extensions?.[backupExtension];
  if (wanted === undefined) return undefined;
  const [name = '', disk, ...more] = wanted.replace(/^backups\//, '').split('/');
  if (name === '' || more.length > 0)
    throw new Problem('validation', `${backupExtension} names a backup: NAME, or NAME/DISK for one of several disks`, { sources });
  const { target, reference } = await tx.resolve<BackupSpec, Content>(backup, `${backup.collection}/${name}`, within, backupPointer);
  const { phase, takenAt, volumes = [] } = target.status as Content;
  if (phase !== 'done' || takenAt === undefined) {
    throw new Problem('conflict', `backup ${name} is not done (${phase ?? 'waiting'}); nothing can be made from it`, { sources });
  }
  const named = (volume: (typeof volumes)[number]) => volume.blockStorageRef.resource.split('/').at(-1);
  const found = disk === undefined ? (volumes.length === 1 ? volumes[0] : undefined) : volumes.find((volume) => named(volume) === disk);
  const { sha256, fileBytes, sizeBytes, cpuArchitecture, boot } = found ?? {};
  if (sha256 === undefined || fileBytes === undefined || sizeBytes === undefined) {
    throw new Problem('validation', `say which disk of backup ${name}: ${volumes.map((volume) => `${name}/${named(volume)}`).join(', ')}`, {
      sources,
    });
  }
  return {
    reference,
    from: {
      backup: name,
      takenAt,
      sha256,
      fileBytes,
      sizeBytes,
      ...(cpuArchitecture === undefined ? {} : { cpuArchitecture }),
      ...(boot === undefined ? {} : { boot }),
    },
  };
}

/** Raises `validation` when what a block storage starts from would change. */
export function assertSameBackup(next: Readonly<Record<string, string>> | undefined, previous: StoredResource['extensions']): void {
  if (next?.[backupExtension] !== previous[backupExtension])
    throw new Problem('validation', 'what a block storage was made from cannot change; make another one', { sources });
}

/** The artifact that a restored block storage starts from. */
export async function restoredSource(reader: StoreReader, uid: StoredResource['uid']): Promise<VolumeSource | undefined> {
  const held = await reader.getByUid<unknown, { readonly restoredFrom?: RestoredFrom }>(uid);
  const from = held?.status.restoredFrom;
  return from === undefined ? undefined : { type: 'image', sha256: from.sha256, bytes: from.fileBytes, format: 'qcow2' };
}
