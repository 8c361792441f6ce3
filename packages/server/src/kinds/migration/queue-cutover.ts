import { isDeepStrictEqual } from 'node:util';
import { type CutoverRequest, type MigrationPhase, type MigrationSpec, migration, Problem } from '@virt8ra/contract';
import type { StoreTransaction } from '../../resources/store.js';
import type { StoredResource } from '../../resources/stored-resource.js';
import type { Subject } from '../behaviour.js';
import type { KindContext } from '../context.js';
import { cutoverFault } from './cutover.js';
import type { MigrationStatus } from './subjects.js';

/** Phases in which the source's guest has not been stopped for the move yet. */
const before: readonly (MigrationPhase | undefined)[] = [undefined, 'plan', 'prepare', 'copy', 'passes', 'probe', 'waiting'];
const after: readonly (MigrationPhase | undefined)[] = ['returning', 'returned', 'failed'];

/**
 * Keeps that the owner asks for the cut-over, now or as `body` says; it counts from then on instead of what the move was begun with. Asked for
 * what was asked already, or after the cut-over, it changes nothing. Raises `conflict` of a move that goes back or has gone, `validation`.
 */
export async function queueCutover(
  context: KindContext,
  tx: StoreTransaction,
  { uid, address }: Pick<StoredResource<MigrationSpec, MigrationStatus>, 'uid' | 'address'>,
  subject: Subject,
  { cutover: intent = { when: 'asked' } }: CutoverRequest,
): Promise<void> {
  const held = await tx.lock<MigrationSpec, MigrationStatus>(uid);
  const { phase, mode, cutover: shown } = held?.status ?? {};
  if (held === undefined || after.includes(phase))
    throw new Problem('conflict', `migration ${address.name} is ${phase ?? 'gone'}; there is nothing to cut over`);
  if (!before.includes(phase)) return;
  const fault = cutoverFault(intent, mode ?? held.spec.mode, context.now());
  if (fault !== undefined) throw new Problem('validation', fault, { sources: [{ pointer: '/cutover' }] });
  if (shown?.askedAt !== undefined && shown.state !== 'missed' && isDeepStrictEqual(shown.intent, intent)) return;
  await tx.setStatus(uid, { cutover: { state: 'queued', intent, askedAt: context.now().toISOString(), askedBy: subject.name } });
  await tx.nudge(migration.kind, uid);
}
