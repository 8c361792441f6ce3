import { Problem } from '@virt8ra/contract/plain';
import { runCommand } from '../system/run-command.js';
import type { Room } from './room.js';

/** A logical volume as `lvs` tells of it. */
export interface LogicalVolume {
  readonly name: string;
  readonly sizeBytes: number;
  /** Name of the thin pool it is in; empty: none. */
  readonly pool: string;
  readonly tags: readonly string[];
  readonly active: boolean;
  /** Of its data, or of all data that a pool holds, so much is in use; 0 to 100; undefined: it is not active. */
  readonly dataPercent: number | undefined;
  /** The same of a thin pool's metadata. */
  readonly metadataPercent: number | undefined;
  /** A thin pool: whether writes that find no room fail or wait. */
  readonly whenFull: 'error' | 'queue' | undefined;
  readonly isPool: boolean;
  /** dmeventd looks after it, and may extend it. */
  readonly monitored: boolean;
}

/** Group and name of a thin pool. */
export interface PoolName {
  readonly group: string;
  readonly pool: string;
}

export const logicalVolumeFields =
  'lv_name,lv_size,pool_lv,lv_tags,lv_active,data_percent,metadata_percent,lv_when_full,segtype,seg_monitor';
const lvmMs = 120_000;
/** Without metadata a pool turns read-only, and only a repair while nobody uses it mends that: the last tenth is not counted as room. */
const usableMetadata = 0.9;

/** Runs a command of lvm2; the messages it answers with are English. Raises as `runCommand` does. */
export async function runLvm(command: string, args: readonly string[]): Promise<string> {
  try {
    return await runCommand('env', ['LC_ALL=C', 'LVM_SUPPRESS_FD_WARNINGS=1', command, ...args], { timeoutMs: lvmMs });
  } catch (error) {
    if (!(error instanceof Problem) || !error.message.startsWith('env ')) throw error;
    throw new Problem(error.kind, `${command}${error.message.slice('env'.length)}`, { facts: error.facts, cause: error });
  }
}

/** All logical volumes of a volume group. Raises Problem unavailable when there is no such group, unsupported without lvm2. */
export async function listLogicalVolumes(group: string): Promise<readonly LogicalVolume[]> {
  const options = ['--reportformat', 'json', '--units', 'b', '--nosuffix', '-o', logicalVolumeFields];
  const text = await runLvm('lvs', [...options, group]).catch((error: unknown) => {
    if (!(error instanceof Problem)) throw error;
    if (error.message.includes('No such file or directory'))
      throw new Problem('unsupported', 'lvs (package lvm2) is not installed on this host', { cause: error });
    throw new Problem('unavailable', `the volume group ${group} cannot be read: ${error.message}`, { cause: error });
  });
  return parseLogicalVolumes(text);
}

/** Reads what `lvs --reportformat json` answered. Raises Problem internal for anything else. */
export function parseLogicalVolumes(text: string): readonly LogicalVolume[] {
  let rows: readonly Readonly<Record<string, unknown>>[];
  try {
    const answer = JSON.parse(text) as { readonly report?: readonly { readonly lv?: readonly Record<string, unknown>[] }[] };
    rows = answer.report?.flatMap(({ lv = [] }) => lv) ?? [];
  } catch (cause) {
    throw new Problem('internal', `lvs answered what is not JSON: ${text.slice(0, 200)}`, { cause });
  }
  return rows.map((row) => {
    const word = (field: string) => {
      const value = row[field];
      return typeof value === 'string' ? value.trim() : '';
    };
    const percent = (field: string) => (word(field) === '' ? undefined : Number(word(field)));
    const whenFull = word('lv_when_full');
    const sizeBytes = Number(word('lv_size'));
    if (word('lv_name') === '' || word('lv_size') === '' || !Number.isSafeInteger(sizeBytes))
      throw new Problem('internal', `lvs told of a logical volume without name or size: ${JSON.stringify(row).slice(0, 200)}`);
    return {
      name: word('lv_name'),
      sizeBytes,
      pool: word('pool_lv'),
      tags: word('lv_tags')
        .split(',')
        .filter((tag) => tag !== ''),
      active: word('lv_active').startsWith('active'),
      dataPercent: percent('data_percent'),
      metadataPercent: percent('metadata_percent'),
      whenFull: whenFull === 'error' || whenFull === 'queue' ? whenFull : undefined,
      isPool: word('segtype') === 'thin-pool',
      monitored: word('seg_monitor') === 'monitored',
    };
  });
}

/** The pool among the volumes of its group. Raises Problem unavailable when it is not there. */
export function poolAmong(volumes: readonly LogicalVolume[], { group, pool }: PoolName): LogicalVolume {
  const found = volumes.find(({ name, isPool }) => name === pool && isPool);
  if (found === undefined) throw new Problem('unavailable', `the volume group ${group} has no thin pool ${pool}`);
  return found;
}

/** Room of a pool: what it lacks first counts, data or metadata. Raises Problem unavailable for one that is not active. */
export function roomOfPool({ name, sizeBytes, dataPercent, metadataPercent }: LogicalVolume): Room {
  if (dataPercent === undefined || metadataPercent === undefined)
    throw new Problem('unavailable', `the thin pool ${name} is not active, and what is free in it cannot be seen`);
  const data = 1 - dataPercent / 100;
  const metadata = 1 - metadataPercent / 100 / usableMetadata;
  return { freeBytes: Math.floor(sizeBytes * Math.max(0, Math.min(data, metadata))), totalBytes: sizeBytes };
}

/** Bytes of a pool that a thin volume takes. */
export function takenBytes({ sizeBytes, dataPercent = 0 }: LogicalVolume): number {
  return Math.ceil((sizeBytes * dataPercent) / 100);
}
