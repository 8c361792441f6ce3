import type { FollowOptions, Sighting } from '@virt8ra/client';
import { Problem, type Resource } from '@virt8ra/contract';
import { durationText } from './output/units.js';
import { type Session, type Target, titleOf } from './session.js';

/** A goal: when it is reached, and when it never will be. */
export interface Goal {
  /** For messages: `become active`. */
  readonly text: string;
  reached(resource: Resource | undefined): boolean;
  /** Why it can never be reached any more. */
  lost?(resource: Resource | undefined): Problem | undefined;
}

interface StatusFields {
  readonly state?: string;
  readonly powerState?: string;
  readonly phase?: string;
  readonly problem?: string;
  readonly problemCode?: string;
  readonly activity?: { readonly value?: string };
  readonly placement?: { readonly site?: string };
  readonly conditions?: readonly { readonly state: string; readonly type?: string; readonly reason?: string; readonly message?: string }[];
}

function statusOf(resource: Resource | undefined): StatusFields {
  return (resource?.status ?? {}) as StatusFields;
}

/** Why a resource is as it is: the newest condition, in one line. */
export function reasonOf(resource: Resource | undefined): string | undefined {
  const [newest] = statusOf(resource).conditions ?? [];
  const parts = [newest?.reason, newest?.message].filter((part) => part !== undefined && part !== '');
  return parts.length === 0 ? undefined : parts.join(': ');
}

/** What a command that waited for long work ends with when it did not come about: a lack of room says so, all else has failed. */
export function kindOfEnd(problemCode: string | undefined): 'exhausted' | 'internal' {
  return problemCode === 'exhausted' ? 'exhausted' : 'internal';
}

const fields: Readonly<Record<string, (status: StatusFields) => unknown>> = {
  state: (status) => status.state,
  power: (status) => status.powerState,
  activity: (status) => status.activity?.value,
  phase: (status) => status.phase,
  site: (status) => status.placement?.site,
};

/** Phases from which work of the named kind does not come back. */
const finalPhases = new Set(['failed', 'returned', 'refused', 'done', 'brought-back']);

/**
 * A goal as people write it: `deleted`, `exists`, `state=active`, `power=on`, `activity=running`, `phase=done`, `site=NAME`, or
 * `/pointer/into/the/resource=value`. Raises `invalid-request` for anything else.
 */
export function goalFromText(text: string): Goal {
  if (text === 'deleted') return { text: 'be deleted', reached: (resource) => resource === undefined };
  if (text === 'exists') return { text: 'exist', reached: (resource) => resource !== undefined };
  const equals = text.indexOf('=');
  const [key, value] = [text.slice(0, Math.max(0, equals)), text.slice(equals + 1)];
  const read = key.startsWith('/') ? (resource: Resource) => at(resource, key) : fieldReader(key);
  if (equals < 1 || value === '' || read === undefined) {
    throw new Problem(
      'invalid-request',
      `cannot wait for ${JSON.stringify(text)}: write deleted, exists, ${Object.keys(fields).join('=…, ')}=… or /status/FIELD=VALUE`,
    );
  }
  return {
    text: `reach ${text}`,
    reached: (resource) => resource !== undefined && String(read(resource)) === value,
    lost: (resource) => {
      if (resource === undefined) return new Problem('not-found', 'it does not exist (any more)');
      const { phase, problem, problemCode } = statusOf(resource);
      if (key !== 'phase' || phase === undefined || !finalPhases.has(phase)) return undefined;
      return new Problem(kindOfEnd(problemCode), `it ended in phase ${phase}: ${problem ?? reasonOf(resource) ?? 'no reason given'}`);
    },
  };
}

function fieldReader(key: string): ((resource: Resource) => unknown) | undefined {
  const read = Object.hasOwn(fields, key) ? fields[key] : undefined;
  return read === undefined ? undefined : (resource) => read(statusOf(resource));
}

function at(value: unknown, pointer: string): unknown {
  let current = value;
  for (const part of pointer.split('/').slice(1)) current = (current as Record<string, unknown> | null | undefined)?.[part];
  return current;
}

export interface AwaitOptions extends FollowOptions {
  readonly timeoutSeconds?: number | undefined;
  readonly onSighting?: (sighting: Sighting) => void;
}

/**
 * Waits until a resource reaches a goal. Raises `unavailable` at the time limit, saying how far it came, and the goal's own problem
 * when it can never be reached. State `error` alone does not end the wait: the control plane goes on trying.
 */
export async function awaitGoal(session: Session, target: Target, goal: Goal, options: AwaitOptions = {}): Promise<Resource | undefined> {
  const { terminal } = session;
  let last: Resource | undefined;
  let told: string | undefined;
  const lost = (resource: Resource | undefined): Problem | undefined => {
    const why = goal.lost?.(resource);
    if (why !== undefined) return new Problem(why.kind, `${titleOf(target)} will not ${goal.text}: ${why.message}`);
    const trouble = statusOf(resource).state === 'error' ? (reasonOf(resource) ?? 'no reason given') : undefined;
    if (trouble !== undefined && trouble !== told) terminal.err(`${titleOf(target)} is in error: ${trouble}; still waiting\n`);
    told = trouble;
    return undefined;
  };
  try {
    return await session.patientClient.waitFor(target.kind, target.address, (resource) => goal.reached(resource), {
      ...options,
      signal: terminal.signal,
      lost,
      onSighting(sighting) {
        last = sighting.resource;
        options.onSighting?.(sighting);
      },
    });
  } catch (error) {
    if (!(error instanceof Problem) || error.facts['waitedSeconds'] === undefined) throw error;
    const reason = reasonOf(last);
    const now =
      last === undefined
        ? 'it does not exist'
        : `it is ${statusOf(last).state ?? 'without a state'}${reason === undefined ? '' : ` (${reason})`}`;
    throw new Problem('unavailable', `${titleOf(target)} did not ${goal.text} within ${durationText(options.timeoutSeconds ?? 0)}: ${now}`);
  }
}

/** What `--wait` waits for after a write: finished work for kinds that have phases, `active` for the others. */
export function settledGoal(target: Target): Goal {
  if (target.kind.status === undefined) return goalFromText('exists');
  if (target.kind.kind === 'snapshot') return goalFromText('phase=taken');
  if (target.kind.kind === 'migration' || target.kind.kind === 'backup' || target.kind.kind === 'backup-export')
    return goalFromText('phase=done');
  if (target.kind.kind === 'agent-release') return releaseGoal(target);
  if (target.kind.kind !== 'image-import') return goalFromText('state=active');
  const done = goalFromText('phase=done');
  return {
    ...done,
    lost: (resource) =>
      statusOf(resource).phase === 'waiting-for-content'
        ? new Problem('invalid-request', `its content has not been sent; use "virt8ra image import ${target.address.name} --file PATH"`)
        : done.lost?.(resource),
  };
}

function releaseGoal(target: Target): Goal {
  const ready = goalFromText('phase=ready');
  return {
    ...ready,
    lost: (resource) =>
      statusOf(resource).phase === 'waiting-for-content'
        ? new Problem('invalid-request', `its content has not been sent; use "virt8ra release add FILE --name ${target.address.name}"`)
        : ready.lost?.(resource),
  };
}
