import type { HostStatus } from '../../fleet/hosts.js';
import type { HostResourceStatus } from './host-status.js';

/** What is known of the releases of a host's agent: what the agent says, and the newest order, which it may not have taken up. */
export function updateOf({
  inventory,
  observedAt,
  release: ordered,
}: Pick<HostStatus, 'inventory' | 'observedAt' | 'release'>): Pick<
  HostResourceStatus,
  'previousAgentVersion' | 'agentSince' | 'update' | 'lastFailedUpdate'
> {
  const told = inventory?.release;
  const since = told?.running.since;
  return {
    ...(told?.previous === undefined ? {} : { previousAgentVersion: told.previous.version }),
    ...(since === undefined ? {} : { agentSince: since }),
    ...(told?.lastFailed === undefined ? {} : { lastFailedUpdate: told.lastFailed }),
    ...(ordered === undefined ? {} : { update: orderOf(ordered, told?.order, observedAt) }),
  };
}

function orderOf(
  { order, version, orderedAt }: NonNullable<HostStatus['release']>,
  told: NonNullable<NonNullable<HostStatus['inventory']>['release']>['order'],
  observedAt: string | undefined,
): NonNullable<HostResourceStatus['update']> {
  if (told?.order !== order) return { order, version, orderedAt, phase: 'waiting' };
  const { phase, at, problem } = told;
  return {
    order,
    version,
    orderedAt,
    phase,
    at,
    ...(observedAt === undefined ? {} : { observedAt }),
    ...(problem === undefined ? {} : { problem }),
  };
}
