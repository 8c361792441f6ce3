import {
  blockStorage,
  type DrainPlan,
  type DrainRequest,
  type Id,
  type InstanceSpec,
  instance,
  type MigrationSpec,
  migration,
  toProblem,
  urnFromAddress,
} from '@virt8ra/contract';
import { type Candidate, explainRefusals, rankCandidates } from '../../../placement/placement.js';
import type { Realization } from '../../../resources/ledger-types.js';
import type { StoredResource } from '../../../resources/stored-resource.js';
import type { KindContext } from '../../context.js';
import {
  hostCandidates,
  type InstanceParts,
  type InstanceStatus,
  networkingNeeds,
  partsOfInstance,
  publicIpsOfInstance,
  readApart,
  requirementOf,
  siteNames,
} from '../../instance/index.js';
import { isOver, liveOutlookOf, type MigrationStatus } from '../../migration/index.js';
import { waysBackTo, wordOnWindow } from '../../moving.js';
import type { DrainMove } from './moves.js';

/** What is asked of a drain, whole. */
export type DrainWish = Required<Pick<DrainRequest, 'mode' | 'allowCold' | 'parallel'>>;

export function wishOf({ mode = 'auto', allowCold = false, parallel = 2 }: DrainRequest): DrainWish {
  return { mode, allowCold: allowCold || mode === 'cold', parallel };
}

type Instance = StoredResource<InstanceSpec, InstanceStatus>;
type Mode = MigrationSpec['mode'];
interface Place {
  readonly site: string;
  readonly host: string;
}

export type Outlook =
  /** `reason`: why not more gently. */
  | { readonly type: 'moves'; readonly mode: Mode; readonly to: Place; readonly reason?: string }
  | { readonly type: 'moving'; readonly migration: StoredResource<MigrationSpec, MigrationStatus> }
  | { readonly type: 'waits'; readonly reason: string }
  | { readonly type: 'stays'; readonly reason: string };

export interface Surveyed {
  readonly instance: Instance;
  readonly outlook: Outlook;
}

/** Attempts at one instance, one more where the first was live by our own choice; what has failed so often is for a person. */
const attemptsMost = 2;

/** A host that is away for less may just be starting anew. */
const silentMostMs = 120_000;

/**
 * What is on a host and what a drain can do with it, by name. `moves` are what this drain has begun; `slots` bounds how many instances are
 * looked at for a new place: the rest waits for its turn.
 */
export async function surveyHost(
  context: KindContext,
  host: Place,
  wish: DrainWish,
  moves: readonly DrainMove[] = [],
  slots = Number.POSITIVE_INFINITY,
): Promise<readonly Surveyed[]> {
  const here = (await context.store.ledger.onHost(host.host)).filter(({ facet }) => facet === 'instances');
  const found = await context.store.getManyByUid<InstanceSpec, InstanceStatus>([...new Set(here.map(({ resourceUid }) => resourceUid))]);
  const surveyor = createSurveyor(context, host, wish);
  const surveyed: Surveyed[] = [];
  let left = slots;
  for (const each of found.toSorted((a, b) => compareText(nameOf(a), nameOf(b)))) {
    const realizations = here.filter(({ resourceUid }) => resourceUid === each.uid);
    const settled = await surveyor.unmovable(each, realizations);
    const outlook: Outlook = settled ?? (left > 0 ? await surveyor.movable(each, moves) : { type: 'waits', reason: 'for its turn' });
    if (outlook.type === 'moves') left -= 1;
    surveyed.push({ instance: each, outlook });
  }
  const gone = await keptHere(context, host.host);
  return [...surveyed, ...gone.filter(({ instance: { uid } }) => !surveyed.some((each) => each.instance.uid === uid))];
}

/** Instances that have left the host, and whose disks are kept there for a way back. */
async function keptHere(context: KindContext, host: string): Promise<readonly Surveyed[]> {
  const moves = (await waysBackTo(context.store, host)) as readonly StoredResource<MigrationSpec, MigrationStatus>[];
  const found: Surveyed[] = [];
  for (const move of moves) {
    const reference = (await context.store.referencesOf(move.uid)).find(({ pointer }) => pointer === '/spec/instanceRef');
    const left = reference === undefined ? undefined : await context.store.getByUid<InstanceSpec, InstanceStatus>(reference.uid);
    const reason = wordOnWindow(move, 'empty the host');
    if (left !== undefined && reason !== undefined) found.push({ instance: left, outlook: { type: 'stays', reason } });
  }
  return found;
}

function createSurveyor(context: KindContext, host: Place, wish: DrainWish) {
  const candidates = new Map<string, Promise<readonly Candidate[]>>();
  const candidatesIn = async (zone: string): Promise<readonly Candidate[]> => {
    const asked =
      candidates.get(zone) ??
      (zone === 'any' ? siteNames(context) : Promise.resolve([zone])).then((sites) => hostCandidates(context, sites));
    candidates.set(zone, asked);
    return (await asked).filter((candidate) => candidate.host !== host.host);
  };
  const modesAt = async (site: string): Promise<readonly string[]> => (await context.sites.connectionOf(site)).capabilities.migrationModes;

  /** Undefined when nothing keeps the instance from being moved now. */
  async function unmovable(resource: Instance, realizations: readonly Realization[]): Promise<Outlook | undefined> {
    const under = (await context.store.usersOf(resource.uid, migration)) as readonly StoredResource<MigrationSpec, MigrationStatus>[];
    const live = under.find((each) => each.deletedAt === undefined && !isOver(each));
    const window = live === undefined ? undefined : wordOnWindow(live, 'move it');
    if (window !== undefined) return { type: 'stays', reason: window };
    if (live !== undefined) return { type: 'moving', migration: live };
    if (resource.deletedAt !== undefined) return { type: 'waits', reason: 'it is being deleted' };
    if (!realizations.some(({ role }) => role === 'primary'))
      return { type: 'waits', reason: 'what a move has left here is being removed' };
    const [run] = await context.runner.list({ subject: `${resource.kind}/${resource.uid}`, live: true, limit: 1 });
    if (run?.state === 'stuck') return { type: 'stays', reason: `its run ${run.id} of ${run.workflow} is stuck and must be resumed first` };
    if (run !== undefined) return { type: 'waits', reason: `its run of ${run.workflow} is about to end` };
    if (resource.status.rescue !== undefined)
      return { type: 'stays', reason: `it is in rescue; end that first: virt8ra rescue ${resource.address.name} --end` };
    if (resource.status.placement === undefined) return { type: 'waits', reason: 'it is being made' };
    return undefined;
  }

  async function movable(resource: Instance, moves: readonly DrainMove[]): Promise<Outlook> {
    const tried = moves.filter((each) => each.instance === resource.uid && each.outcome !== undefined && each.outcome !== 'done');
    const last = tried.at(-1);
    const triedLive = wish.mode === 'auto' && tried.some(({ mode }) => mode === 'live');
    if (last !== undefined && tried.length >= attemptsMost + Number(triedLive))
      return { type: 'stays', reason: `${tried.length} moves have failed, the last: ${last.problem ?? last.outcome}` };
    const activity = resource.status.activity?.value;
    switch (activity) {
      case 'starting':
      case 'stopping':
      case 'moving':
        return { type: 'waits', reason: `it is ${activity}` };
      case 'paused':
        return { type: 'stays', reason: 'it is paused; see to what keeps it from running first' };
      case undefined:
        return { type: 'waits', reason: 'it was not seen yet' };
      case 'unknown': {
        const reason = `host ${host.host} is not heard: what runs there is not known, and nothing can be copied from it`;
        const silentMs = context.now().getTime() - Date.parse(resource.status.activity?.observedAt ?? '');
        return { type: silentMs > silentMostMs ? 'stays' : 'waits', reason };
      }
      case 'running':
      case 'stopped':
      case 'crashed':
        return await placeFor(resource, activity === 'running', last);
    }
  }

  async function placeFor(resource: Instance, running: boolean, last: DrainMove | undefined): Promise<Outlook> {
    try {
      const parts = await partsOfInstance(context.store, resource);
      const isBound = (await publicIpsOfInstance(context.store, parts.nicUids)).some(({ site }) => site === host.site);
      // An owner who named a site meant it, and a public IP is lost elsewhere; moves within it are ours to make.
      const zone = resource.spec.zone === 'any' && !isBound ? 'any' : host.site;
      const networking = await networkingNeeds(context.store, resource, parts.nicUids, host.site);
      const apart = await readApart(context.store, resource);
      const verdicts = rankCandidates(await candidatesIn(zone), requirementOf(parts, zone, undefined, { networking, apart })).toSorted(
        (a, b) => Number(b.site === host.site) - Number(a.site === host.site),
      );
      const fitting = verdicts.filter(({ fits }) => fits);
      if (fitting.length === 0) {
        const refusal = verdicts.length === 0 ? `site ${host.site} has no other host` : explainRefusals(verdicts);
        return { type: 'stays', reason: `nothing can take it: ${refusal}` };
      }
      const places = fitting.map(({ site, host: target }) => ({ site, host: target }));
      return await wayFor(resource, parts, places, running ? waysOf(wish, last) : coldOnly);
    } catch (error) {
      const { message, retry } = toProblem(error);
      return { type: retry === 'later' ? 'waits' : 'stays', reason: message };
    }
  }

  /** The gentlest way that leads to one of the places, which come in the order of their preference. */
  async function wayFor(resource: Instance, parts: InstanceParts, places: readonly Place[], ways: readonly Mode[]): Promise<Outlook> {
    const from = await modesAt(host.site);
    let notLive: string | undefined;
    for (const way of ways) {
      const liveFault = way === 'live' ? await liveOutlookOf(context, resource, parts, host) : undefined;
      for (const to of places) {
        if (!from.includes(way) || !(await modesAt(to.site)).includes(way)) continue;
        const fault = await liveFault?.(to);
        if (fault === undefined) return { type: 'moves', mode: way, to, ...(notLive === undefined ? {} : { reason: notLive }) };
        notLive ??= `it cannot be moved live, because ${fault}`;
      }
    }
    const consent = wish.allowCold ? '' : '; allowCold lets it be stopped for the move';
    const why = notLive === undefined ? '' : `: ${notLive}`;
    return { type: 'stays', reason: `no host that fits can take it ${ways.join(' or ')}${why}${consent}` };
  }
  return { unmovable, movable };
}

const coldOnly: readonly Mode[] = ['cold'];

/** For an instance that runs, gentlest first. What failed in one way is tried in a rougher one, stopped only with consent. */
function waysOf({ mode, allowCold }: DrainWish, last: DrainMove | undefined): readonly Mode[] {
  if (mode === 'cold') return coldOnly;
  const running: readonly Mode[] = mode === 'auto' ? ['live', 'warm'] : [mode];
  const ways: readonly Mode[] = allowCold ? [...running, 'cold'] : running;
  const rougher = ways.slice((ways as readonly (string | undefined)[]).indexOf(last?.mode) + 1);
  return rougher.length > 0 ? rougher : ways.slice(-1);
}

/** The survey as the operator reads it. */
export async function drainPlanOf(context: KindContext, host: Place, surveyed: readonly Surveyed[]): Promise<DrainPlan> {
  const disks = (await context.store.ledger.onHost(host.host)).filter(({ facet, role }) => facet === 'blockStorages' && role === 'primary');
  const unused: string[] = [];
  for (const disk of await context.store.getManyByUid([...new Set<Id<'resource'>>(disks.map(({ resourceUid }) => resourceUid))])) {
    const [user] = await context.store.usersOf(disk.uid, instance);
    if (user === undefined) unused.push(urnFromAddress(blockStorage, disk.address));
  }
  return {
    instances: surveyed.map(({ instance: { address }, outlook }) => ({
      instance: urnFromAddress(instance, address),
      outlook: outlook.type,
      ...(outlook.type === 'moves' ? { mode: outlook.mode, to: outlook.to } : {}),
      ...(outlook.type === 'moves' && outlook.reason !== undefined ? { reason: outlook.reason } : {}),
      ...(outlook.type === 'moving' ? movingOf(outlook.migration) : {}),
      ...(outlook.type === 'waits' || outlook.type === 'stays' ? { reason: outlook.reason } : {}),
    })),
    blockStorages: unused.toSorted(compareText),
  };
}

function movingOf(
  under: StoredResource<MigrationSpec, MigrationStatus>,
): Pick<DrainPlan['instances'][number], 'mode' | 'to' | 'migration'> {
  const { to } = under.status;
  return {
    mode: under.spec.mode,
    migration: urnFromAddress(migration, under.address),
    ...(to?.host === undefined ? {} : { to: { site: to.site, host: to.host } }),
  };
}

function nameOf({ address }: Instance): string {
  return urnFromAddress(instance, address);
}

function compareText(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}
