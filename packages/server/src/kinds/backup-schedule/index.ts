/** Backup schedule: makes backups by the clock and keeps the last few that are done. */
import {
  type BackupScheduleSpec,
  backup,
  backupSchedule,
  blockStorage,
  instance,
  Problem,
  referenceTo,
  toProblem,
  urnFromAddress,
} from '@virt8ra/contract';
import type { Outcome } from '@virt8ra/engine';
import type { StoreTransaction } from '../../resources/store.js';
import type { StoredResource } from '../../resources/stored-resource.js';
import { admitNewBackup, type BackupStatus, isOver, unmadeFrom } from '../backup/index.js';
import type { KindBehaviour } from '../behaviour.js';
import type { KindContext } from '../context.js';
import { dueSince, nextDue } from './clock.js';

export interface BackupScheduleStatus {
  readonly nextAt?: string;
  readonly lastAt?: string;
  readonly lastBackupRef?: { readonly resource: string };
  readonly kept?: number;
}

type Schedule = StoredResource<BackupScheduleSpec, BackupScheduleStatus>;
type Backup = StoredResource<unknown, BackupStatus>;

/** The label that says which schedule made a backup. */
const label = 'virt8ra.schedule';
const pointer = `/labels/${label}`;
/** A backup that cannot be begun now is tried again after so long. */
const retrySeconds = 60;
const longestSeconds = 3600;
/** While a backup of it is under way. */
const busySeconds = 15;
/** Failed backups that are kept to be looked at. */
const failedKept = 3;

export function createBackupScheduleBehaviour(context: KindContext): KindBehaviour<BackupScheduleSpec, BackupScheduleStatus> {
  return {
    kind: backupSchedule,
    async admitPut(tx, { address, next, previous }) {
      const { of, every } = next.spec;
      // Refused now what could never be done; what stands in the way for a while does not matter yet.
      const reference = await referenceOf(context, tx, address, of);
      const now = context.now();
      const nextAt = previous === undefined ? nextDue(every, now).toISOString() : undefined;
      return { references: [reference], outcome: 'active', ...(nextAt === undefined ? {} : { status: { nextAt } }) };
    },
    reconcile: async (resource) => await keepSchedule(context, resource),
  };
}

async function referenceOf(context: KindContext, tx: StoreTransaction, address: StoredResource['address'], of: BackupScheduleSpec['of']) {
  const { name: _, ...within } = address;
  try {
    const admitted = await admitNewBackup(context, tx, within, of, '/spec/of');
    const [reference] = admitted.references ?? [];
    if (reference !== undefined) return reference;
  } catch (thrown) {
    const problem = toProblem(thrown);
    if (problem.kind !== 'conflict') throw problem;
    if ('instanceRef' in of) return (await tx.resolve(instance, of.instanceRef, within, '/spec/of/instanceRef')).reference;
    return (await tx.resolve(blockStorage, of.blockStorageRef, within, '/spec/of/blockStorageRef')).reference;
  }
  throw new Problem('internal', 'a backup schedule without a subject');
}

async function keepSchedule(context: KindContext, resource: Schedule): Promise<Outcome> {
  if (resource.deletedAt !== undefined) {
    await context.store.transaction(async (tx) => {
      if ((await tx.lock(resource.uid)) !== undefined) await tx.remove(resource.uid);
    });
    return { gone: true };
  }
  const now = context.now();
  const refusal = await context.store
    .transaction(async (tx) => await beginDue(context, tx, resource, now))
    .catch(async (thrown: unknown) => await overQuota(context, resource, thrown));
  const busy = await context.store.transaction(async (tx) => await prune(tx, resource));
  if (refusal !== undefined) return { waitSeconds: retrySeconds, reason: refusal };
  if (busy) return { waitSeconds: busySeconds, reason: 'a backup of it is under way' };
  const current = await context.store.getByUid<BackupScheduleSpec, BackupScheduleStatus>(resource.uid);
  const leftSeconds = (Date.parse(current?.status.nextAt ?? '') - now.getTime()) / 1000;
  return {
    waitSeconds: Math.min(Math.max(Number.isFinite(leftSeconds) ? leftSeconds : longestSeconds, 1), longestSeconds),
    reason: 'not due yet',
  };
}

/** A quota that has no room: nothing was made, and that is said. Raises everything else on. */
async function overQuota(context: KindContext, { uid }: Schedule, thrown: unknown): Promise<string> {
  const { kind, message } = toProblem(thrown);
  if (kind !== 'exhausted') throw thrown;
  await context.store.transaction(async (tx) => {
    if ((await tx.lock(uid)) !== undefined)
      await tx.setStatus(
        uid,
        {},
        { state: 'error', type: 'Scheduled', reason: 'Waiting', message: `the backup that is due waits: ${message}` },
      );
  });
  return message;
}

/** Makes the backup that is due. Answers what is in the way of it. */
async function beginDue(context: KindContext, tx: StoreTransaction, { uid }: Schedule, now: Date): Promise<string | undefined> {
  const held = await tx.lock<BackupScheduleSpec, BackupScheduleStatus>(uid);
  if (held === undefined || held.deletedAt !== undefined) return undefined;
  const { spec, status, address, createdAt } = held;
  const last = status.lastAt === undefined ? undefined : new Date(status.lastAt);
  const due = dueSince(spec.every, last, new Date(createdAt), now);
  if (due === undefined) {
    const nextAt = nextDue(spec.every, last ?? new Date(createdAt)).toISOString();
    if (status.nextAt !== nextAt) await tx.setStatus(uid, { nextAt });
    return undefined;
  }
  const { name, ...within } = address;
  try {
    const admission = await admitNewBackup(context, tx, within, spec.of);
    const made = { ...within, name: `${name.slice(0, 100)}-${stamp(due)}` };
    const [references = []] = [admission.references];
    const existing = await tx.lockAt(backup, made);
    if (existing === undefined) {
      const given = urnFromAddress(backupSchedule, address);
      const resource = await tx.put({
        kind: backup,
        address: made,
        labels: { [label]: name.slice(0, 63) },
        spec: spec.of,
        status: { phase: 'waiting' },
        state: 'creating',
        conditions: [{ state: 'creating', type: 'BackedUp', reason: 'Waiting' }, { state: 'pending' }],
        references: [...references, { pointer, given, uid }],
      });
      await tx.nudge(backup.kind, resource.uid);
    }
    await tx.setStatus(
      uid,
      { lastAt: due.toISOString(), nextAt: nextDue(spec.every, due).toISOString(), lastBackupRef: referenceTo(backup, made) },
      { state: 'active', type: 'Scheduled', reason: 'Begun', message: `backup ${made.name}` },
    );
    return undefined;
  } catch (thrown) {
    const problem = toProblem(thrown);
    if (problem.kind !== 'conflict' && problem.kind !== 'validation' && problem.kind !== 'unsupported') throw thrown;
    await tx.setStatus(
      uid,
      {},
      { state: 'error', type: 'Scheduled', reason: 'Waiting', message: `the backup due at ${due.toISOString()} waits: ${problem.message}` },
    );
    return problem.message;
  }
}

function stamp(at: Date): string {
  return at.toISOString().slice(0, 16).replaceAll(/[-:]/g, '').replace('T', '-');
}

/** Deletes what is beyond the number to keep. True while a backup of it is under way. */
async function prune(tx: StoreTransaction, { uid }: Schedule): Promise<boolean> {
  const held = await tx.lock<BackupScheduleSpec, BackupScheduleStatus>(uid);
  if (held === undefined || held.deletedAt !== undefined) return false;
  const mine = (await tx.usersOf(uid, backup)) as readonly Backup[];
  const standing = mine
    .filter(({ deletedAt }) => deletedAt === undefined)
    .sort((a, b) => Date.parse(b.createdAt) - Date.parse(a.createdAt));
  const done = standing.filter(({ status }) => status.phase === 'done');
  const failed = standing.filter(({ status }) => status.phase === 'failed');
  let kept = done.length;
  for (const old of [...done.slice(held.spec.keep), ...failed.slice(failedKept)]) {
    // Something is still to be made from it: another time.
    if ((await unmadeFrom(tx, old.uid)) !== undefined) continue;
    if (old.status.phase === 'done') kept -= 1;
    await tx.markDeleted(old.uid);
    await tx.nudge(backup.kind, old.uid);
  }
  if (held.status.kept !== kept) await tx.setStatus(uid, { kept });
  return standing.some(({ status }) => !isOver(status));
}
