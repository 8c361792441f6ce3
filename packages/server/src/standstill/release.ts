import { type DesiredInstance, type DesiredVolume, newId, Problem } from '@virt8ra/contract';
import { inTransaction } from '@virt8ra/engine';
import type { Pool, PoolClient } from 'pg';
import { tellMoved } from '../access/moved.js';
import { tellFleet } from '../fleet/signals.js';
import { type ComparedHost, type Comparison, compare, type Difference, facetOfType, type HostThing, thingId, uidOfKey } from './compare.js';
import { readComparison } from './read-comparison.js';
import { readRestore } from './standstill.js';

export interface ReleaseRequest {
  /** What becomes of what hosts were told otherwise since: `keep` it, or `apply` what the database says. */
  readonly changed: 'keep' | 'apply';
  /** Released although some hosts were not compared; they stay held. */
  readonly withoutHosts: boolean;
  readonly by: string;
  readonly remote: string;
}

export interface Released {
  readonly hosts: readonly string[];
  /** Hosts that stay held until they were compared. */
  readonly held: readonly string[];
  readonly followed: number;
  readonly withheld: number;
  readonly kept: number;
  /** Runs that were under way at the backup and are not gone on with. */
  readonly endedRuns: readonly string[];
}

/**
 * Ends the standstill for every host that was compared, in one transaction: the ledger follows what moved, what is gone is neither made again nor
 * forgotten, what is unknown stays at its host. Raises `conflict` when there is nothing to release, or hosts are missing and `withoutHosts` was not said.
 */
export async function release(pool: Pool, request: ReleaseRequest): Promise<Released> {
  return await inTransaction(pool, async (client) => {
    await client.query('lock table fleet.restore in share row exclusive mode');
    const restore = await readRestore(client);
    if (restore === undefined) throw new Problem('conflict', 'this control plane was never restored: there is nothing to release');
    // Reports that come in meanwhile wait; what was compared is what is acted on.
    await client.query('lock table fleet.observed in share mode');
    const { comparison, standings } = await readComparison(client);
    const waiting = standings.filter(({ state }) => state === 'waiting').map(({ host }) => host);
    if (restore.releasedAt !== undefined && comparison.hosts.length === 0)
      throw new Problem(
        'conflict',
        waiting.length === 0
          ? `it was released at ${restore.releasedAt}`
          : `it was released at ${restore.releasedAt}, and ${waiting.join(', ')} have not reported since the restore`,
      );
    if (waiting.length > 0 && !request.withoutHosts && restore.releasedAt === undefined)
      throw new Problem(
        'conflict',
        `not compared yet: ${waiting.join(', ')}. Wait until they are connected, or release without them (withoutHosts, --without-hosts): they stay held until they were compared`,
        { facts: { hosts: waiting } },
      );
    const differences = compare(comparison);
    const done = await settle(client, comparison, differences, request);
    const hosts = comparison.hosts.map(({ host }) => host);
    await client.query('update fleet.host set held = false, generation = generation + 1 where host = any($1)', [hosts]);
    await client.query('delete from fleet.told where host = any($1)', [hosts]);
    await client.query(
      'update fleet.restore set released_at = coalesce(released_at, clock_timestamp()), released_by = coalesce(released_by, $2) where epoch = $1',
      [restore.epoch, request.by],
    );
    const count = (name: Difference['class']): number => differences.filter((each) => each.class === name).length;
    await client.query(
      `insert into audit (id, at, subject, remote, verb, resource, code, reason)
       values ($1, clock_timestamp(), $2, $3, 'post.release', 'virt8ra.restore/v1beta1', 200, $4)`,
      [
        newId('audit'),
        request.by,
        request.remote,
        `released ${hosts.join(', ') || 'no host'}${waiting.length === 0 ? '' : `, without ${waiting.join(', ')}`}; moved ${count('moved')}, gone ${count('gone')}, unknown ${count('unknown')}, changed ${count('changed')} (${request.changed})`,
      ],
    );
    for (const host of hosts) await tellFleet(client, host);
    return { hosts, held: waiting, kept: count('unknown'), ...done };
  });
}

async function settle(
  client: PoolClient,
  comparison: Comparison,
  differences: readonly Difference[],
  { changed }: ReleaseRequest,
): Promise<Pick<Released, 'followed' | 'withheld' | 'endedRuns'>> {
  const hosts = new Map(comparison.hosts.map((host) => [host.host, host]));
  const touched = new Set<string>();
  const withheld = new Map<string, string>();
  let followed = 0;
  for (const difference of differences) {
    const { uid } = difference;
    const host = hosts.get(difference.host);
    if (uid === undefined || host === undefined || difference.class === 'unknown') continue;
    touched.add(uid);
    if (!difference.decided && !(difference.class === 'changed' && changed === 'apply' && difference.fields !== undefined))
      withheld.set(uid, difference.message);
    if (difference.class === 'gone') await forgetDesired(client, difference);
    else if (difference.class === 'moved' && difference.decided) {
      await follow(client, comparison, host, difference);
      followed += 1;
    } else if (difference.class === 'moved' && difference.from !== undefined) await forgetDesiredOf(client, difference.from, difference);
    else if (difference.class === 'changed' && (changed === 'keep' || difference.permitEpoch !== undefined))
      await keepAsTold(client, host, difference, changed === 'keep');
  }
  // What needs something that its owner must decide on first waits with it.
  for (const [instance, volumes] of comparison.volumesOf) {
    const lost = volumes.find((uid) => withheld.has(uid));
    if (lost !== undefined && !withheld.has(instance))
      withheld.set(instance, `its block storage ${comparison.resources.get(lost)?.name ?? lost}: ${withheld.get(lost) ?? ''}`);
  }
  for (const [uid, message] of withheld) {
    const { kind } = comparison.resources.get(uid) ?? {};
    await client.query(
      `insert into withheld (uid, reason, message, resource_version)
       select uid, $2, $3, resource_version from resource where uid = $1 on conflict (uid) do update set message = excluded.message`,
      [uid, kind ?? '', message],
    );
  }
  await adoptHostParts(client, comparison);
  await takeSettings(client, comparison.hosts);
  return { followed, withheld: withheld.size, endedRuns: await endRuns(client, [...touched]) };
}

/** Hard, and not withdrawn: its host is to be told nothing of it, not that it should go. */
async function forgetDesired(client: PoolClient, { host, type, key }: Pick<HostThing, 'host' | 'type' | 'key'>): Promise<void> {
  await client.query('delete from fleet.desired where host = $1 and type = $2 and key = $3', [host, type, key]);
}

async function forgetDesiredOf(client: PoolClient, host: string, { type, uid }: Difference): Promise<void> {
  await client.query(`delete from fleet.desired where host = $1 and type = $2 and key ~ ('^' || $3 || '-g[0-9]+')`, [host, type, uid]);
}

async function desire(client: PoolClient, host: string, type: string, key: string, object: unknown): Promise<void> {
  await client.query(
    `insert into fleet.desired (host, type, key, object, generation) select $1, $2, $3, $4::jsonb, generation + 1 from fleet.host where host = $1
     on conflict (host, type, key) do update set object = excluded.object, generation = excluded.generation, removed_generation = null`,
    [host, type, key, JSON.stringify(object)],
  );
}

/** The ledger says of it what its host says: place, key, claim, permit, and what it was told there. */
async function follow(client: PoolClient, { realizations }: Comparison, host: ComparedHost, difference: Difference): Promise<void> {
  const { uid = '', key, from, permitEpoch } = difference;
  const type = difference.type as 'instance' | 'volume';
  const word = host.told?.get(thingId(type, key));
  const facet = facetOfType[type];
  const rows = realizations.filter((row) => row.resourceUid === uid && row.facet === facet);
  const kept = await client.query<{ facts: object }>(
    `select facts from realization where resource_uid = $1 and facet = $2 and role = 'primary'`,
    [uid, facet],
  );
  const facts = { ...kept.rows[0]?.facts, ...factsOf(type, word) };
  for (const { id, key: old } of rows) if (old !== key) await client.query('delete from realization where id = $1', [id]);
  await client.query(
    `insert into realization (id, resource_uid, generation, role, facet, site, host, key, state, facts, created_at)
     values ($1, $2, $3, 'primary', $4, $5, $6, $7, 'intended', $8, clock_timestamp())
     on conflict (key) do update set role = 'primary', site = excluded.site, host = excluded.host, state = 'intended', handle = null, facts = realization.facts || excluded.facts`,
    [newId('realization'), uid, generationOf(key), facet, host.site, host.host, key, JSON.stringify(facts)],
  );
  if (from !== undefined) await forgetDesiredOf(client, from, difference);
  await desire(client, host.host, type, key, word);
  const amounts =
    type === 'instance'
      ? [(word as DesiredInstance).vCPU, (word as DesiredInstance).memoryMiB, 0]
      : [0, 0, (word as DesiredVolume).sizeBytes];
  await client.query(`delete from claim where resource_uid = $1 and role = 'incoming'`, [uid]);
  await client.query(
    `insert into claim (resource_uid, role, site, host, vcpu, memory_mib, storage_bytes) values ($1, 'primary', $2, $3, $4, $5, $6)
     on conflict (resource_uid, role) do update set site = excluded.site, host = excluded.host`,
    [uid, host.site, host.host, ...amounts],
  );
  await client.query(
    `update resource set status = jsonb_set(status, '{placement}', jsonb_build_object('site', $2::text, 'host', $3::text, 'cause', 'migration',
            'reason', 'found there after the control plane was restored', 'revision', coalesce((status #>> '{placement,revision}')::int, 0) + 1))
      where uid = $1`,
    [uid, host.site, host.host],
  );
  if (type !== 'instance') return;
  await takePower(client, uid, word as DesiredInstance);
  if (permitEpoch !== undefined) await takePermit(client, uid, host.host, word as DesiredInstance);
  await tellMoved(client, uid);
}

/** What only its site can tell, as far as its host was told it. */
function factsOf(type: 'instance' | 'volume', word: unknown): object {
  if (type === 'volume') {
    const { source, settle } = word as DesiredVolume;
    return { origin: source, settle };
  }
  const { machine, cpuModel } = word as DesiredInstance;
  return { ...(machine === undefined ? {} : { machine }), ...(cpuModel === undefined ? {} : { cpuModel }) };
}

async function keepAsTold(
  client: PoolClient,
  host: ComparedHost,
  { uid = '', type, key, permitEpoch }: Difference,
  all: boolean,
): Promise<void> {
  const word = host.told?.get(thingId(type, key));
  if (word === undefined) return;
  if (all) await desire(client, host.host, type, key, word);
  if (type !== 'instance') return;
  const told = word as DesiredInstance;
  if (all) await takePower(client, uid, told);
  if (told.permit?.epoch === permitEpoch) await takePermit(client, uid, host.host, told);
}

async function takePower(client: PoolClient, uid: string, { power, restarts }: DesiredInstance): Promise<void> {
  await client.query(
    `insert into instance_power (instance_uid, power, restarts) values ($1, $2, $3)
     on conflict (instance_uid) do update set power = excluded.power, restarts = greatest(instance_power.restarts, excluded.restarts)`,
    [uid, power, restarts],
  );
}

/** Only ever a later epoch. */
async function takePermit(client: PoolClient, uid: string, host: string, { permit }: DesiredInstance): Promise<void> {
  if (permit === undefined) return;
  await client.query(
    `insert into run_permit (instance_uid, epoch, holder, evidence) values ($1, $2, $3, $4)
     on conflict (instance_uid) do update
       set epoch = excluded.epoch, holder = excluded.holder, evidence = excluded.evidence, surrender = null, next_holder = null, bound_to = null
       where run_permit.epoch < excluded.epoch`,
    [uid, permit.epoch, host, permit.evidence === undefined ? null : JSON.stringify(permit.evidence)],
  );
}

/** Networks and filters that hosts have of networks and security groups we know, under keys we do not: the ledger takes them as they are. */
async function adoptHostParts(client: PoolClient, { hosts, observed, realizations, resources }: Comparison): Promise<void> {
  const known = new Set(realizations.map(({ key }) => key));
  for (const { host, type, key } of observed) {
    const compared = hosts.find((each) => each.host === host);
    const word = compared?.told?.get(thingId(type, key));
    const uid = uidOfKey(key) ?? '';
    if ((type !== 'network' && type !== 'filter') || word === undefined || compared === undefined || known.has(key) || !resources.has(uid))
      continue;
    const network = type === 'filter' ? uidOfKey((word as { readonly networkKey?: string }).networkKey ?? '') : undefined;
    await client.query(
      `insert into realization (id, resource_uid, generation, role, facet, site, host, key, state, facts, created_at)
       values ($1, $2, $3, 'primary', $4, $5, $6, $7, 'intended', $8, clock_timestamp()) on conflict do nothing`,
      [
        newId('realization'),
        uid,
        generationOf(key),
        facetOfType[type],
        compared.site,
        host,
        key,
        JSON.stringify(network === undefined ? {} : { network }),
      ],
    );
    await desire(client, host, type, key, word);
  }
}

/** Maintenance that was asked for since, and the release of the agent that was ordered last. */
async function takeSettings(client: PoolClient, hosts: readonly ComparedHost[]): Promise<void> {
  const names = hosts.filter(({ told }) => told !== undefined).map(({ host }) => host);
  await client.query(
    `update fleet.host set maintenance = host.maintenance or coalesce((told.state ->> 'maintenance')::boolean, false),
            agent_release = case when told.state ? 'agentRelease'
              then coalesce(host.agent_release, jsonb_build_object('orderedAt', clock_timestamp())) || (told.state -> 'agentRelease') end
       from fleet.told where told.host = host.host and host.host = any($1)`,
    [names],
  );
}

/** A run of the past that knows nothing of what happened since must neither go on nor be undone. */
async function endRuns(client: PoolClient, uids: readonly string[]): Promise<readonly string[]> {
  const problem = {
    kind: 'conflict',
    message: 'ended at the release after a restore: what it was about is not as it was; nothing was undone',
    facts: {},
  };
  const ended = await client.query<{ id: string; subject: string }>(
    `update engine.run set state = 'undone', problem = $2, ended_at = clock_timestamp(), changed_at = clock_timestamp()
      where ended_at is null and split_part(subject, '/', 2) = any($1) returning id, subject`,
    [uids, JSON.stringify(problem)],
  );
  await client.query(`delete from engine.work where key = any($1)`, [ended.rows.map(({ id }) => `run/${id}`)]);
  return ended.rows.map(({ id }) => id);
}

function generationOf(key: string): number {
  return Number(/-g(\d+)(?:-|$)/.exec(key)?.[1] ?? 0);
}
