import { blockStorage, instance, Problem, type SnapshotSpec, snapshot } from '@virt8ra/contract';
import { awaitGoal, type Goal, goalFromText } from '../await-resource.js';
import { secondsOfFlag } from '../duration-flag.js';
import { addressOf, type Session, type Target, targetFromWords, titleOf } from '../session.js';

export interface SnapshotFlags {
  readonly name?: string;
  readonly timeout?: string;
}

const sentences = {
  offline: 'nothing ran on it',
  'file-system': 'file systems at rest',
  crash: 'as after a power failure of the guest',
} as const;

/** Takes a snapshot of an instance with all its block storages, or of one (`disk/NAME`), and says of what moment it is. */
export async function snapshotTake(session: Session, word: string, flags: SnapshotFlags): Promise<void> {
  const { client, terminal } = session;
  const timeoutSeconds = secondsOfFlag('--timeout', flags.timeout);
  const subject = targetFromWords(session, word.includes('/') ? [word] : ['instance', word]);
  if (subject.kind !== instance && subject.kind !== blockStorage)
    throw new Problem('invalid-request', `a ${subject.kind.kind} has no snapshots; name an instance or disk/NAME`);
  const { name } = subject.address;
  const spec: SnapshotSpec =
    subject.kind === instance
      ? { instanceRef: `${instance.collection}/${name}` }
      : { blockStorageRef: `${blockStorage.collection}/${name}` };
  const made = flags.name ?? `${name.slice(0, 100)}-${Math.floor(terminal.now() / 1000).toString(36)}`;
  const target: Target = { kind: snapshot, address: addressOf(session, snapshot, made) };
  const existing = flags.name === undefined ? undefined : await client.find(snapshot, target.address);
  if (existing === undefined) await client.put(snapshot, target.address, { spec });
  await awaitGoal(session, target, goalFromText('phase=taken'), { timeoutSeconds });
  const { status } = await client.get(snapshot, target.address);
  terminal.out(
    session.format === 'name'
      ? `${titleOf(target)}\n`
      : `${titleOf(target)} taken: of ${status?.takenAt ?? 'an unknown time'}, ${sentences[status?.consistency ?? 'crash']}\n`,
  );
}

const reverted: Goal = {
  text: 'be what they were',
  reached: (resource) => (resource?.status as { readonly phase?: string } | undefined)?.phase === 'taken',
  lost: (resource) => (resource === undefined ? new Problem('not-found', 'it does not exist (any more)') : undefined),
};

/** Makes the block storages of a snapshot what they were; their instance must be off. What was written since is lost. */
export async function snapshotRevert(session: Session, word: string, flags: Pick<SnapshotFlags, 'timeout'>): Promise<void> {
  const target: Target = { kind: snapshot, address: addressOf(session, snapshot, word.replace(/^snapshots?\//, '')) };
  const timeoutSeconds = secondsOfFlag('--timeout', flags.timeout);
  await session.client.act(snapshot, target.address, 'revert');
  await awaitGoal(session, target, reverted, { timeoutSeconds });
  session.terminal.out(session.format === 'name' ? `${titleOf(target)}\n` : `the disks of ${titleOf(target)} are as they were\n`);
}
