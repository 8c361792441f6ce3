import type { DesiredByType, HostObject, ObservedByType } from '@virt8ra/contract';
import { type HostObjectType, Problem, problemKinds } from '@virt8ra/contract';
import type { Observation } from '@virt8ra/driver';
import type { HostObjectView } from './fleet-port.js';

/** What one type of object says about itself. */
export interface Reading<Status> {
  readonly status: Status;
  /** The agent is still at it, or has not done yet what is desired. */
  readonly changing: boolean;
  readonly problem?: { readonly code: string; readonly message: string };
}

export interface Reader<Type extends HostObjectType, Status> {
  /** Desired, and not yet reported. */
  awaited(desired: DesiredByType[Type], host: string): Status;
  read(observed: ObservedByType[Type], desired: DesiredByType[Type] | undefined, host: string): Reading<Status>;
}

/** Agents tell of changes by themselves; asking again is only for a lost nudge. */
const retryAfterSeconds = 5;

/** The truth model: nothing is `absent` before the host said so, and nothing is current that an unheard host said. */
export function observationFromView<Type extends HostObjectType, Status>(
  object: HostObject & { readonly type: Type },
  view: HostObjectView<Type>,
  reader: Reader<Type, Status>,
): Observation<Status> {
  const { host } = object;
  const source = `agent/${host}`;
  const { desired, observed } = view;
  const reading = observed === undefined ? undefined : reader.read(observed.object, desired, host);
  if (view.silence !== undefined) {
    // Never declared, or confirmed gone: what an unheard host cannot have, it cannot have now either.
    if (desired === undefined && !view.going && observed === undefined && view.reportedAt !== undefined) {
      return { type: 'absent', at: view.reportedAt, source };
    }
    const lastSeen = observed === undefined || reading === undefined ? {} : { lastSeen: { at: observed.at, status: reading.status } };
    return { type: 'unknown', reason: view.silence, source, ...lastSeen };
  }
  // A host that is heard has reported.
  const reportedAt = view.reportedAt ?? new Date(0).toISOString();
  if (observed === undefined || reading === undefined) {
    if (desired !== undefined) {
      return { type: 'changing', at: reportedAt, source, status: reader.awaited(desired, host), retryAfterSeconds };
    }
    if (!view.going) return { type: 'absent', at: reportedAt, source };
    return { type: 'unknown', reason: `host ${host} has not confirmed yet that it is gone`, source };
  }
  const { status, changing, problem } = reading;
  const at = observed.at;
  if (view.going || !view.current) return { type: 'changing', at, source, status, retryAfterSeconds };
  if (problem !== undefined) {
    return { type: 'broken', at, source, status, problem: problemFromTrouble(problem, host) };
  }
  return changing ? { type: 'changing', at, source, status, retryAfterSeconds } : { type: 'present', at, source, status };
}

/** Agents give the kind of their own problem as code; an unknown one is `internal`. */
function problemFromTrouble(trouble: { readonly code: string; readonly message: string }, host: string): Problem {
  const kind = problemKinds.find((known) => known === trouble.code) ?? 'internal';
  return new Problem(kind, trouble.message, { facts: { code: trouble.code, host } });
}
