import type { ResourceOf } from '@virt8ra/client';
import { type BackupSpec, backup, blockStorage, instance, Problem } from '@virt8ra/contract';
import { awaitGoal, goalFromText } from '../await-resource.js';
import { secondsOfFlag } from '../duration-flag.js';
import { referenceName } from '../output/columns.js';
import { createLiveLine } from '../output/live-line.js';
import { printResources } from '../output/print-resources.js';
import { bytesText } from '../output/units.js';
import { addressOf, type Session, type Target, targetFromWords, titleOf } from '../session.js';

export interface BackupFlags {
  readonly name?: string;
  readonly detach?: boolean;
  readonly timeout?: string;
}

type Backup = ResourceOf<typeof backup>;

const sentences = {
  offline: 'nothing ran on it',
  'file-system': 'file systems at rest',
  crash: 'as after a power failure of the guest',
} as const;

/**
 * Backs an instance up with all its block storages, or one block storage (`disk/NAME`), and shows how it goes. An interrupt leaves it running; with
 * the name of a backup that exists already that one is followed.
 */
export async function backupStart(session: Session, word: string, flags: BackupFlags): Promise<void> {
  const { terminal, client } = session;
  const timeoutSeconds = secondsOfFlag('--timeout', flags.timeout);
  const subject = targetFromWords(session, word.includes('/') ? [word] : ['instance', word]);
  if (subject.kind !== instance && subject.kind !== blockStorage)
    throw new Problem('invalid-request', `a ${subject.kind.kind} cannot be backed up; name an instance or disk/NAME`);
  const { name } = subject.address;
  const spec: BackupSpec =
    subject.kind === instance
      ? { instanceRef: `${instance.collection}/${name}` }
      : { blockStorageRef: `${blockStorage.collection}/${name}` };
  const target: Target = { kind: backup, address: addressOf(session, backup, flags.name ?? nameOfBackup(name, terminal.now())) };
  const existing = flags.name === undefined ? undefined : await client.find(backup, target.address);
  if (existing === undefined) await client.put(backup, target.address, { spec });
  if (flags.detach === true) {
    terminal.out(
      session.format === 'name'
        ? `${titleOf(target)}\n`
        : `${titleOf(target)} started\n  follow: virt8ra wait ${titleOf(target)} --for phase=done\n`,
    );
    return;
  }
  const line = createLiveLine(terminal);
  try {
    const done = (await awaitGoal(session, target, goalFromText('phase=done'), {
      timeoutSeconds,
      onSighting({ resource, progress }) {
        const phase = (resource as Backup | undefined)?.status?.phase;
        if (progress !== undefined && progress.phase === phase) line.show(progress);
        else if (phase !== undefined) line.show({ phase, bytes: 0, totalBytes: 0, bytesPerSecond: 0, etaSeconds: null, updatedAt: '' });
      },
    })) as Backup;
    line.end();
    if (session.format === 'table' || session.format === 'wide') terminal.out(summaryText(target, done));
    else await printResources(session, backup, [done], { single: true });
  } catch (error) {
    if (terminal.signal.aborted) line.note(`${titleOf(target)} goes on\n  follow: virt8ra wait ${titleOf(target)} --for phase=done`);
    throw error;
  } finally {
    line.end();
  }
}

/** Names sort by time: what it is of and the second in base 36. */
function nameOfBackup(name: string, now: number): string {
  return `${name.slice(0, 100)}-${Math.floor(now / 1000).toString(36)}`;
}

function summaryText(target: Target, { status }: Backup): string {
  const lines = [`${titleOf(target)} done: of ${status?.takenAt ?? 'an unknown time'}, ${sentences[status?.consistency ?? 'crash']}`];
  for (const { blockStorageRef, fileBytes, sizeBytes, sha256 } of status?.volumes ?? [])
    lines.push(
      `  ${referenceName(blockStorageRef)}: ${bytesText(fileBytes ?? 0)} of ${bytesText(sizeBytes)}, sha256 ${sha256?.slice(0, 16)}…`,
    );
  return `${lines.join('\n')}\n`;
}
