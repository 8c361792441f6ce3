import {
  type BootProbeFinding,
  type Convergence,
  type CutoverState,
  type GuestChange,
  type Id,
  type InstanceSpec,
  type MigrationPhase,
  type MigrationSpec,
  type MoveActual,
  type MoveFinding,
  type MoveForecast,
  Problem,
  type ReturnJourney,
  type WayBack,
} from '@virt8ra/contract';
import type { InstanceRealizationSpec } from '@virt8ra/driver';
import type { StoreReader, StoreTransaction } from '../../resources/store.js';
import type { StoredResource } from '../../resources/stored-resource.js';
import type { KindContext } from '../context.js';
import { type InstanceStatus, type RealizationOverrides, realizationSpecOf } from '../instance/index.js';
import type { MoveInput, MovePlan, Place } from './plan.js';

/** The migration and the instance of a run. Raises `not-found` when one of them is gone. */
export async function subjectsOf(
  reader: StoreReader,
  input: MoveInput,
): Promise<{
  readonly migration: StoredResource<MigrationSpec, MigrationStatus>;
  readonly instance: StoredResource<InstanceSpec, InstanceStatus>;
}> {
  const [migration, instance] = await Promise.all([
    reader.getByUid<MigrationSpec, MigrationStatus>(input.migration),
    reader.getByUid<InstanceSpec, InstanceStatus>(input.instance),
  ]);
  if (migration === undefined) throw new Problem('not-found', 'the migration is gone');
  if (instance === undefined) throw new Problem('not-found', 'the instance is gone');
  return { migration, instance };
}

/** Status of a migration without its state and history; times are RFC 3339. */
export interface MigrationStatus {
  readonly phase?: MigrationPhase;
  readonly from?: { readonly site: string; readonly host?: string };
  readonly to?: { readonly site: string; readonly host?: string };
  readonly mode?: MigrationSpec['mode'];
  readonly fallbackReason?: string;
  readonly startedAt?: string;
  readonly finishedAt?: string;
  readonly pauseMs?: number;
  readonly handoverMs?: number;
  readonly guestChanges?: readonly GuestChange[];
  readonly cutover?: CutoverState;
  readonly convergence?: Convergence;
  readonly bootProbe?: BootProbeFinding;
  readonly bytes?: number;
  readonly resentBytes?: number;
  readonly passes?: number;
  readonly seeds?: readonly { readonly disk: string; readonly bytes: number; readonly problem?: string }[];
  readonly digests?: readonly { readonly disk: string; readonly source: string; readonly target: string; readonly equal: boolean }[];
  readonly permitEpoch?: number;
  readonly bootedAnew?: true;
  readonly forecast?: MoveForecast;
  readonly findings?: readonly MoveFinding[];
  readonly actual?: MoveActual;
  readonly wayBack?: WayBack;
  readonly return?: ReturnJourney;
  readonly run?: string;
  readonly problem?: string;
  readonly problemCode?: string;
}

/** Whether nothing more will come of a migration. */
export function isOver({ status }: { readonly status: Pick<MigrationStatus, 'phase'> }): boolean {
  return status.phase === 'done' || status.phase === 'brought-back' || status.phase === 'returned' || status.phase === 'failed';
}

/** What was measured of a move. */
export type Measured = Pick<
  MigrationStatus,
  'pauseMs' | 'handoverMs' | 'bytes' | 'resentBytes' | 'passes' | 'digests' | 'permitEpoch' | 'bootedAnew'
>;

/** Shows where the move is; writes nothing when it is shown already. What only keeps a way back ready is no phase of its own. */
export async function showPhase(tx: StoreTransaction, migration: Id<'resource'>, phase: MigrationPhase): Promise<void> {
  const shown = await tx.lock<MigrationSpec, MigrationStatus>(migration);
  if (shown === undefined || shown.status.phase === phase) return;
  if (shown.status.phase === 'kept' && phase !== 'clean' && shown.status.wayBack?.asked !== 'return') return;
  await tx.setStatus(migration, { phase });
}

/** The instance as a site is asked for it, with what the plan knows of its machine. Raises `unavailable` while its networks are not ready there. */
export async function specificationAt(
  context: KindContext,
  plan: MovePlan,
  at: Place,
  overrides: Omit<RealizationOverrides, 'restarts' | 'machine' | 'cpuModel'>,
): Promise<InstanceRealizationSpec> {
  const { uid, restarts, machine, cpuModel } = plan.instance;
  const instance = await context.store.getByUid<InstanceSpec, InstanceStatus>(uid);
  if (instance === undefined) throw new Problem('not-found', `instance ${plan.instance.name} is gone`);
  return await realizationSpecOf(context, instance, at, {
    ...overrides,
    restarts,
    ...(machine === undefined ? {} : { machine }),
    ...(cpuModel === undefined ? {} : { cpuModel }),
  });
}
