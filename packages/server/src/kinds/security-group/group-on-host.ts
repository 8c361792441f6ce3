import { type Id, type NetworkSpec, Problem, type SecurityGroupSpec, securityGroup, toProblem } from '@virt8ra/contract';
import type { Connection, Handle, SecurityGroupRealizationSpec, SecurityGroupsFacet } from '@virt8ra/driver';
import type { Realization } from '../../resources/ledger-types.js';
import type { StoreTransaction } from '../../resources/store.js';
import type { KindContext } from '../context.js';
import { sweepSeconds } from '../network/index.js';
import { realizedHandle, type StillThere, withdrawn } from '../realize.js';
import { compileRule } from './compile-rules.js';
import { type GroupRule, membersOfGroup, rulesOfGroup } from './group-rules.js';
import { type GroupPlace, useOfGroup } from './group-use.js';

type Context = Pick<KindContext, 'store' | 'sites' | 'now'>;

export type GroupOnHost = { readonly handle: Handle; readonly ready: boolean } | { readonly waiting: string };

/** How often what changes meanwhile is followed before it is left to the next look. */
const rounds = 5;

/** Everything of a group that a place is to have, as the database says it. */
interface Wanted {
  readonly realization: Realization;
  readonly members: readonly string[];
  /** Empty where no NIC there is in the group. */
  readonly rules: readonly GroupRule[];
}

/**
 * Makes a group on a host for the NICs of one network, or finds it there, and keeps its rules and members what they are; groups that its rules
 * name are made there with it. Repeatable. Raises `conflict` when the group is going, `unavailable` when the site cannot be asked,
 * `unsupported` when it cannot filter.
 */
export async function ensureGroupOnHost(context: Context, uid: Id<'resource'>, place: GroupPlace, network: Handle): Promise<GroupOnHost> {
  const at = await groupsAt(context, place.site);
  let wanted = await context.store.transaction(async (tx) => await wantedAt(tx, uid, place));
  if (wanted.realization.state === 'removing') {
    const left = await removeGroupRealization(context, wanted.realization);
    return left === undefined ? await ensureGroupOnHost(context, uid, place, network) : { waiting: left.reason };
  }
  const handle = await handleOf(context, at, wanted, place, network);
  for (let round = 0; round < rounds; round += 1) {
    await at.securityGroups.update(handle, await specificationOf(context, at, wanted, place, network));
    // Somebody may have changed it since it was read, and have been faster with the host.
    const now = await context.store.transaction(async (tx) => await wantedAt(tx, uid, place));
    if (JSON.stringify([now.members, now.rules], plainNumbers) === JSON.stringify([wanted.members, wanted.rules], plainNumbers)) break;
    wanted = now;
  }
  const seen = await at.securityGroups.observe(handle);
  switch (seen.type) {
    case 'present':
    case 'changing':
      return { handle, ready: seen.type === 'present' && seen.status.state === 'ready' };
    case 'broken':
      return { waiting: `${place.host} cannot apply it: ${seen.problem.message}` };
    case 'unknown':
      return { waiting: seen.reason };
    case 'absent':
      // It holds nothing that could be lost: making it again under its key is all it takes.
      await at.securityGroups.create(await specificationOf(context, at, wanted, place, network), wanted.realization.key);
      return { waiting: `${place.host} had lost it` };
  }
}

/** Addresses are big numbers, which JSON does not know. */
function plainNumbers(_: string, value: unknown): unknown {
  return typeof value === 'bigint' ? value.toString() : value;
}

async function wantedAt(tx: StoreTransaction, uid: Id<'resource'>, place: GroupPlace): Promise<Wanted> {
  const group = await tx.lock<SecurityGroupSpec>(uid);
  const network = await tx.getByUid<NetworkSpec>(place.network);
  if (group === undefined || group.deletedAt !== undefined) throw new Problem('conflict', 'the security group is being deleted');
  if (network === undefined) throw new Problem('conflict', 'the network of the security group’s NICs is gone');
  const existing = (await tx.ledger.ofResource(uid)).find((each) => isAt(each, place));
  if (existing === undefined) await tx.nudge(securityGroup.kind, uid, sweepSeconds);
  const { site, host } = place;
  const facts = { network: place.network };
  return {
    realization: existing ?? (await tx.ledger.intend({ resourceUid: uid, role: 'primary', facet: 'securityGroups', site, host, facts })),
    members: await membersOfGroup(tx, uid, place.network),
    rules: (await useOfGroup(tx.client, uid, place)) === 'nics' ? await rulesOfGroup(tx, group, network) : [],
  };
}

function isAt({ site, host, facts }: Realization, place: GroupPlace): boolean {
  return site === place.site && host === place.host && facts['network'] === place.network;
}

interface GroupsAt {
  readonly connection: Connection;
  readonly securityGroups: SecurityGroupsFacet;
}

/** Made without rules: until they are told, nothing passes. */
async function handleOf(
  context: Context,
  at: GroupsAt,
  { realization, members }: Wanted,
  place: GroupPlace,
  network: Handle,
): Promise<Handle> {
  return await realizedHandle(context, at.connection, at.securityGroups, realization, () => ({
    host: place.host,
    network,
    rules: [],
    members,
  }));
}

async function specificationOf(
  context: Context,
  at: GroupsAt,
  { realization, members, rules }: Wanted,
  place: GroupPlace,
  network: Handle,
): Promise<SecurityGroupRealizationSpec> {
  const peers = new Map<Id<'resource'>, Handle>();
  for (const uid of new Set(rules.flatMap((rule) => rule.peers?.groups ?? []))) {
    if (uid === realization.resourceUid) continue;
    const peer = await context.store.transaction(async (tx) => await wantedAt(tx, uid, place));
    if (peer.realization.state === 'removing') throw new Problem('unavailable', `a group that its rules name is leaving ${place.host}`);
    peers.set(uid, await handleOf(context, at, peer, place, network));
  }
  return {
    host: place.host,
    network,
    rules: rules.flatMap(({ spec, peers: others }) =>
      compileRule(
        spec,
        others === undefined ? undefined : { ranges: others.ranges, groups: others.groups.map((uid) => peers.get(uid) ?? 'self') },
      ),
    ),
    members,
  };
}

/** Takes groups from a network on a host where no NIC and no rule needs them any more. Repeatable; what cannot be finished now is finished by their reconcile. */
export async function releaseGroupsOnHost(context: Context, networkUid: Id<'resource'>, host: string): Promise<void> {
  const uids = await context.store.transaction(async (tx) => {
    const { rows } = await tx.client.query<{ uid: Id<'resource'> }>(
      `select distinct resource_uid as uid from realization where host = $1 and facet = 'securityGroups' and facts ->> 'network' = $2`,
      [host, networkUid],
    );
    return rows.map(({ uid }) => uid);
  });
  for (const uid of uids) await releaseUnused(context, uid, (each) => each.host === host && each.facts['network'] === networkUid);
}

/** The same for one group, wherever `within` says. */
export async function releaseUnused(
  context: Context,
  uid: Id<'resource'>,
  within: (realization: Realization) => boolean = () => true,
): Promise<void> {
  const released = await context.store.transaction(async (tx) => {
    if ((await tx.lock(uid)) === undefined) return [];
    const unused: Realization[] = [];
    for (const each of await tx.ledger.ofResource(uid)) {
      if (each.state === 'removing' || !within(each) || (await useOfGroup(tx.client, uid, placeOf(each))) !== undefined) continue;
      await tx.ledger.setRemoving(each.id);
      unused.push({ ...each, state: 'removing' });
    }
    // Whatever happens to this process now, the group's own reconcile goes on with it.
    if (unused.length > 0) await tx.nudge(securityGroup.kind, uid, 1);
    return unused;
  });
  for (const realization of released) {
    try {
      await removeGroupRealization(context, realization);
    } catch (thrown) {
      if (toProblem(thrown).retry === 'never') throw thrown;
    }
  }
}

/** Raises `internal` for a row of the ledger that no group can have. */
export function placeOf({ site, host, facts }: Realization): GroupPlace {
  const { network } = facts;
  if (host === undefined || typeof network !== 'string')
    throw new Problem('internal', 'a security group was realized without host or network');
  return { site, host, network: network as Id<'resource'> };
}

/** Undefined once it is gone and forgotten, else what is waited for. */
export async function removeGroupRealization(context: Context, realization: Realization): Promise<StillThere | undefined> {
  const { connection, securityGroups } = await groupsAt(context, realization.site);
  const left = await withdrawn(context, connection, securityGroups, realization);
  if (left === undefined) await context.store.transaction(async (tx) => await tx.ledger.forget(realization.id));
  return left;
}

async function groupsAt(context: Context, site: string): Promise<GroupsAt> {
  const connection = await context.sites.connectionOf(site);
  const { securityGroups } = connection;
  if (securityGroups === undefined) {
    throw new Problem(
      'unsupported',
      `site ${site} cannot filter by security groups; place the instance elsewhere or take it out of its groups`,
    );
  }
  return { connection, securityGroups };
}
