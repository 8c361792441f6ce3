import {
  type Condition,
  nic,
  Problem,
  type SecurityGroupSpec,
  type State,
  securityGroup,
  securityGroupRule,
  toProblem,
} from '@virt8ra/contract';
import type { Outcome } from '@virt8ra/engine';
import type { Realization } from '../../resources/ledger-types.js';
import type { StoreTransaction } from '../../resources/store.js';
import type { ResolvedReference, StoredResource } from '../../resources/stored-resource.js';
import type { Admission, AwaitedReference, KindBehaviour, PutRequest } from '../behaviour.js';
import type { KindContext } from '../context.js';
import { resolveAhead } from '../resolve-ahead.js';
import { namesOfUsers } from '../users.js';
import { admitRule } from './admit-rule.js';
import { ensureGroupOnHost, placeOf, releaseUnused, removeGroupRealization } from './group-on-host.js';

export interface SecurityGroupStatus {
  rules?: readonly { readonly state: State; readonly conditions: readonly Condition[] }[];
}

type SecurityGroup = StoredResource<SecurityGroupSpec, SecurityGroupStatus>;

/** SECA's bound on the rules of a status. */
const mostRules = 500;
const lookAgainSeconds = 2;
const unreachableSeconds = 15;
const sweepSeconds = 300;

export function createSecurityGroupBehaviour(context: KindContext): KindBehaviour<SecurityGroupSpec, SecurityGroupStatus> {
  return {
    kind: securityGroup,
    admitPut: admitSecurityGroup,
    async admitDelete(tx, { uid, address }) {
      const users = await tx.usersOf(uid);
      if (users.length > 0) {
        const hint = users.some(({ kind }) => kind === nic.kind) ? 'take them out of it' : 'change or delete them';
        throw new Problem('conflict', `security group ${address.name} is used by ${namesOfUsers(users)}; ${hint} first`);
      }
    },
    reconcile: async (resource) => await reconcileGroup(context, resource),
    async present(_reader, resources) {
      // A host applies all rules of a group or none.
      return resources.map(({ spec, state, conditions }) => {
        const count = (spec.rules?.length ?? 0) + (spec.ruleRefs?.length ?? 0);
        return { rules: Array.from({ length: count }, () => ({ state, conditions: conditions.slice(0, 1) })) };
      });
    },
  };
}

async function admitSecurityGroup(
  tx: StoreTransaction,
  { address, next, previous, again = false }: PutRequest<SecurityGroupSpec, SecurityGroupStatus>,
): Promise<Admission<SecurityGroupStatus>> {
  const { name: _, ...within } = address;
  const { rules = [], ruleRefs = [] } = next.spec;
  if (rules.length + ruleRefs.length > mostRules)
    throw new Problem('validation', `a security group has at most ${mostRules} rules, its own and shared ones together`, {
      sources: [{ pointer: '/spec/ruleRefs' }],
    });
  const references: ResolvedReference[] = [];
  const awaited: AwaitedReference[] = [];
  for (const [index, rule] of rules.entries()) references.push(...(await admitRule(tx, rule, within, `/spec/rules/${index}`, { address })));
  for (const [index, given] of ruleRefs.entries()) {
    const pointer = `/spec/ruleRefs/${index}`;
    const found = await resolveAhead(tx, { kind: securityGroupRule, given, from: within, pointer }, again);
    if ('awaited' in found) {
      awaited.push(found.awaited);
      continue;
    }
    const { target, reference } = found;
    if (target.address.workspace !== within.workspace)
      throw new Problem('validation', 'a security group shares rules of its own workspace', { sources: [{ pointer }] });
    references.push(reference);
  }
  const applied = previous !== undefined && (await tx.ledger.ofResource(previous.uid)).length > 0;
  if (!applied) return { references, awaited, outcome: 'active' };
  return { references, awaited, outcome: 'creating', type: 'Applied', reason: 'Changed', message: 'its hosts are being told' };
}

/** Keeps every host what the group says, and finishes removals; a group that is going goes when none is left. */
async function reconcileGroup(context: KindContext, resource: SecurityGroup): Promise<Outcome> {
  const going = resource.deletedAt !== undefined;
  if (!going) await releaseUnused(context, resource.uid);
  const realizations = await context.store.ledger.ofResource(resource.uid);
  const waiting: string[] = [];
  let waitSeconds = lookAgainSeconds;
  for (const realization of realizations) {
    const removing = going || realization.state === 'removing';
    try {
      const left = removing ? await leaving(context, realization) : await keeping(context, realization);
      if (left === undefined) continue;
      waiting.push(left.reason);
      if (!left.reachable) waitSeconds = unreachableSeconds;
    } catch (thrown) {
      const problem = toProblem(thrown);
      if (problem.kind === 'internal') throw thrown;
      waitSeconds = Math.max(waitSeconds, problem.retryAfterSeconds ?? unreachableSeconds);
      waiting.push(`${realization.host ?? realization.site}: ${problem.message}`);
    }
  }
  if (going && waiting.length === 0) {
    await context.store.transaction(async (tx) => await tx.remove(resource.uid));
    return { gone: true };
  }
  const reason = waiting.join('; ');
  await context.store.transaction(async (tx) => await showGroup(tx, resource, reason));
  if (waiting.length > 0) return { waitSeconds, reason };
  return realizations.length === 0 ? { done: true } : { waitSeconds: sweepSeconds, reason: 'in use' };
}

interface Left {
  readonly reason: string;
  readonly reachable: boolean;
}

async function leaving(context: KindContext, realization: Realization): Promise<Left | undefined> {
  return await removeGroupRealization(context, realization);
}

async function keeping(context: KindContext, realization: Realization): Promise<Left | undefined> {
  const place = placeOf(realization);
  const network = (await context.store.ledger.ofResource(place.network)).find(({ host }) => host === place.host)?.handle;
  if (network === undefined) return { reason: `the network is not on ${place.host} yet`, reachable: true };
  const made = await ensureGroupOnHost(context, realization.resourceUid, place, network);
  if ('waiting' in made) return { reason: made.waiting, reachable: false };
  return made.ready ? undefined : { reason: `waiting for ${place.host} to apply it`, reachable: true };
}

async function showGroup(tx: StoreTransaction, { uid }: SecurityGroup, waiting: string): Promise<void> {
  const current = await tx.lock(uid);
  if (current === undefined) return;
  if (current.deletedAt !== undefined) {
    await tx.setStatus(uid, {}, { state: 'deleting', type: 'Removed', reason: 'Waiting', message: waiting });
    return;
  }
  if (waiting !== '') await tx.setStatus(uid, {}, { state: 'updating', type: 'Applied', reason: 'Waiting', message: waiting });
  else if (current.state !== 'active') await tx.setStatus(uid, {}, { state: 'active', type: 'Applied', reason: 'Everywhere' });
}
