import {
  type Address,
  type AuditRecord,
  type AuditVerification,
  type Enrolment,
  type GuestSample,
  type HostPath,
  type HostSample,
  host,
  instance,
  type Kind,
  kinds,
  type OpenedStream,
  Problem,
  type Progress,
  type Resource,
  type ResourceList,
  type UsageRecord,
} from '@virt8ra/contract';
import type { Static } from 'typebox';
import type { Answer } from './exchange.js';
import { type Feed, type FeedOptions, openFeed } from './feed.js';
import { collectionPath, pathOf } from './path.js';
import { openStream } from './stream.js';
import { createTransport, type TransportOptions } from './transport.js';
import { type UploadOptions, type UploadSource, uploadContent } from './upload.js';

export type SpecOf<K extends Kind> = Static<K['spec']>;
export type StatusOf<K extends Kind> = Static<NonNullable<K['status']>>;
/** A resource of a kind, typed by the kind's shapes. */
export type ResourceOf<K extends Kind> = Resource<SpecOf<K>, StatusOf<K>>;

/** What a caller writes. PUT replaces: parts left out are emptied. */
export interface Draft<Spec = unknown> {
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly extensions?: Readonly<Record<string, string>>;
  readonly spec: Spec;
}

export interface WriteOptions {
  /** Only when the resource still has this `resourceVersion`; else `precondition-failed`. Such a write is never repeated by itself. */
  readonly ifUnmodifiedSince?: number;
  readonly signal?: AbortSignal;
}

export interface ListOptions {
  /** SECA label selector, such as `env=prod,tier!=edge`. */
  readonly labels?: string;
  /** Resources per request, 1 to 10000. Default 1000. */
  readonly pageSize?: number;
  readonly signal?: AbortSignal;
}

/** A sample with what it is of. */
export type HostUsage = HostSample & { readonly host: string; readonly at: string };
export type GuestUsage = Omit<GuestSample, 'key' | 'disks' | 'nics'> & {
  readonly disks?: readonly object[];
  readonly nics?: readonly object[];
  readonly instance: string;
  readonly host: string;
  readonly at: string;
};

const metricsPath = 'providers/virt8ra.metrics/v1beta1';
const auditPath = 'providers/virt8ra.audit/v1beta1';

export interface WellKnown {
  readonly version: string;
  readonly endpoints: readonly { readonly provider: string; readonly url: string }[];
}

/**
 * Typed client of a control plane. Every method raises `Problem`s: the server's own, or `unavailable` with the facts `fault` and `url`
 * when no answer came. GET, PUT and DELETE are repeated over short trouble (see `TransportOptions`), POST never: a lost reply to a
 * POST is `unknown-outcome`.
 */
export interface Client {
  readonly server: string;
  get<K extends Kind>(kind: K, address: Address, signal?: AbortSignal): Promise<ResourceOf<K>>;
  /** Like `get`, but undefined when the server says that it does not exist. */
  find<K extends Kind>(kind: K, address: Address, signal?: AbortSignal): Promise<ResourceOf<K> | undefined>;
  /** Creates or replaces. `created` may be false for a creation whose first reply was lost. */
  put<K extends Kind>(
    kind: K,
    address: Address,
    draft: Draft<SpecOf<K>>,
    options?: WriteOptions,
  ): Promise<{ readonly created: boolean; readonly resource: ResourceOf<K> }>;
  /** True: deletion has begun. False: it did not exist any more. */
  delete(kind: Kind, address: Address, options?: WriteOptions): Promise<boolean>;
  /** All resources of a collection, page by page, in the server's order. */
  list<K extends Kind>(kind: K, within: Omit<Address, 'name'>, options?: ListOptions): AsyncIterable<ResourceOf<K>>;
  /** POST of an action of the kind; its body when it has one. */
  act(kind: Kind, address: Address, action: string, options?: WriteOptions & { readonly body?: unknown }): Promise<unknown>;
  /** A single-use token for the agent of a host. */
  enrol(hostName: string): Promise<Enrolment>;
  /** Progress of a resource's work; undefined when none is under way. */
  progress(kind: Kind, address: Address, signal?: AbortSignal): Promise<Progress | undefined>;
  /** Change feed; resolves when the server has accepted. */
  events(options: FeedOptions): Promise<Feed>;
  /** Content of an image import, or of another kind, resumed where an earlier attempt stopped. */
  upload(address: Address, source: UploadSource, options?: UploadOptions): Promise<void>;
  /** A stream to a place in an instance: `console`, `vnc` or `ports/PORT`. Resolves when the place is reached. */
  stream(address: Address, place: string, query?: Readonly<Record<string, string | number>>, signal?: AbortSignal): Promise<OpenedStream>;
  /** All that is kept of the output of an instance's console. */
  consoleLog(address: Address): AsyncIterable<Uint8Array>;
  /** What each host used over its last ten seconds; those that send nothing are left out. */
  hostUsage(): Promise<readonly HostUsage[]>;
  /** The same of the instances of a workspace. */
  instanceUsage(within: { readonly tenant: string; readonly workspace: string }): Promise<readonly GuestUsage[]>;
  /** What is known of how octets get from host to host. */
  paths(): Promise<readonly HostPath[]>;
  /** The audit, newest first: of one resource, of a tenant, or (the operator may) of all. */
  audit(of: {
    readonly tenant?: string | undefined;
    readonly resource?: string | undefined;
    readonly pageSize?: number;
  }): AsyncIterable<AuditRecord>;
  /** Whether a part of the audit holds; `next` of the answer says where the next part begins. */
  auditVerification(part: { readonly after?: number | undefined; readonly head?: string | undefined }): Promise<AuditVerification>;
  /** What was used, hour by hour, of a workspace or of a whole tenant. */
  usageRecords(of: {
    readonly tenant: string;
    readonly workspace?: string | undefined;
    readonly from?: string | undefined;
    readonly to?: string | undefined;
  }): AsyncIterable<UsageRecord>;
  wellKnown(): Promise<WellKnown>;
  /** Whether the server says that it is ready; raises only when it cannot be reached. */
  ready(): Promise<boolean>;
}

export type ClientOptions = TransportOptions;

export function createClient(options: ClientOptions): Client {
  const transport = createTransport(options);

  const find = async <K extends Kind>(kind: K, address: Address, signal?: AbortSignal) => {
    const answer = await transport.call({ method: 'GET', path: pathOf(kind, address), signal, accept: [404] });
    return answer.status === 404 ? undefined : (bodyOf(answer) as ResourceOf<K>);
  };

  /** What is no resource, page by page. */
  async function* pages<Item>(path: string, query: Readonly<Record<string, string | number | undefined>>): AsyncGenerator<Item> {
    let skipToken: string | undefined;
    do {
      const page = bodyOf(await transport.call({ method: 'GET', path, query: { ...query, skipToken } })) as {
        readonly items: readonly Item[];
        readonly metadata?: { readonly skipToken?: string };
      };
      yield* page.items;
      skipToken = page.metadata?.skipToken;
    } while (skipToken !== undefined);
  }

  return {
    server: transport.server,
    async get(kind, address, signal) {
      const answer = await transport.call({ method: 'GET', path: pathOf(kind, address), signal });
      return bodyOf(answer) as ResourceOf<typeof kind>;
    },
    find,
    async put(kind, address, draft, options) {
      const path = pathOf(kind, address);
      const answer = await transport.call({ method: 'PUT', path, json: draft, headers: lockHeaders(options), signal: options?.signal });
      return { created: answer.status === 201, resource: bodyOf(answer) as ResourceOf<typeof kind> };
    },
    async delete(kind, address, options) {
      const path = pathOf(kind, address);
      const answer = await transport.call({
        method: 'DELETE',
        path,
        headers: lockHeaders(options),
        signal: options?.signal,
        accept: [404],
      });
      return answer.status !== 404;
    },
    async *list(kind, within, options = {}) {
      const path = collectionPath(kind, within);
      let skipToken: string | undefined;
      do {
        const query = { labels: options.labels, limit: options.pageSize ?? 1000, skipToken };
        const page = bodyOf(await transport.call({ method: 'GET', path, query, signal: options.signal })) as Partial<ResourceList> | null;
        if (!Array.isArray(page?.items)) throw new Problem('internal', `the server answered GET ${path} with something that is not a list`);
        yield* page.items as ResourceOf<typeof kind>[];
        skipToken = page.metadata?.skipToken;
      } while (skipToken !== undefined && skipToken !== '');
    },
    async act(kind, address, action, options) {
      if (!kind.actions.includes(action)) throw new Problem('invalid-request', `a ${kind.kind} has no action ${action}`);
      const path = `${pathOf(kind, address)}/${action}`;
      const answer = await transport.call({
        method: 'POST',
        path,
        headers: lockHeaders(options),
        signal: options?.signal,
        ...(options?.body === undefined ? {} : { json: options.body }),
      });
      return answer.text === '' ? undefined : bodyOf(answer);
    },
    async enrol(hostName) {
      const answer = await transport.call({ method: 'POST', path: `${pathOf(host, { name: hostName })}/enrol` });
      return bodyOf(answer) as Enrolment;
    },
    async progress(kind, address, signal) {
      const answer = await transport.call({ method: 'GET', path: `${pathOf(kind, address)}/progress`, signal, accept: [404] });
      return answer.status === 404 ? undefined : (bodyOf(answer) as Progress);
    },
    events: (options) => openFeed(transport, options),
    upload: (address, source, options) => uploadContent(transport, address, source, options),
    stream: async (address, place, query = {}, signal) =>
      await openStream(transport, { path: `${pathOf(instance, address)}/${place}`, query, signal }),
    async *consoleLog(address) {
      yield* (await transport.open({ method: 'GET', path: `${pathOf(instance, address)}/console/log` }, 60)) as AsyncIterable<Uint8Array>;
    },
    async hostUsage() {
      const answer = await transport.call({ method: 'GET', path: `${metricsPath}/hosts` });
      return (bodyOf(answer) as { items: HostUsage[] }).items;
    },
    async instanceUsage({ tenant, workspace }) {
      const within = `tenants/${encodeURIComponent(tenant)}/workspaces/${encodeURIComponent(workspace)}`;
      const answer = await transport.call({ method: 'GET', path: `${metricsPath}/${within}/instances` });
      return (bodyOf(answer) as { items: GuestUsage[] }).items;
    },
    async paths() {
      const answer = await transport.call({ method: 'GET', path: `${metricsPath}/paths` });
      return (bodyOf(answer) as { items: HostPath[] }).items;
    },
    async *audit({ tenant, resource, pageSize = 1000 }) {
      const path = tenant === undefined ? `${auditPath}/entries` : `${auditPath}/tenants/${encodeURIComponent(tenant)}/entries`;
      yield* pages<AuditRecord>(path, { resource, limit: pageSize });
    },
    async auditVerification({ after, head }) {
      return bodyOf(
        await transport.call({ method: 'GET', path: `${auditPath}/verification`, query: { after, head } }),
      ) as AuditVerification;
    },
    async *usageRecords({ tenant, workspace, from, to }) {
      const within = workspace === undefined ? '' : `/workspaces/${encodeURIComponent(workspace)}`;
      const path = `providers/virt8ra.usage/v1beta1/tenants/${encodeURIComponent(tenant)}${within}/usage-records`;
      yield* pages<UsageRecord>(path, { from, to, limit: 1000 });
    },
    async wellKnown() {
      return bodyOf(await transport.call({ method: 'GET', path: '.wellknown/secapi' })) as WellKnown;
    },
    async ready() {
      const answer = await transport.call({ method: 'GET', path: 'readyz', repeatable: false, accept: [503] });
      return answer.status !== 503;
    },
  };
}

/** Kind by its name, collection or alias, as people write them. Raises `invalid-request` with the known nouns. */
export function kindFromNoun(noun: string): Kind {
  const word = noun.toLowerCase();
  const found = kinds.find((kind) => nounsOf(kind).includes(word));
  if (found !== undefined) return found;
  throw new Problem('invalid-request', `there is no kind ${JSON.stringify(noun)}; run "virt8ra kinds" for the list`);
}

/** Words that mean this kind and no other: `skus` names three collections, so that those go by kind and alias only. */
export function nounsOf(kind: Kind): readonly string[] {
  const shared = kinds.some((other) => other !== kind && other.collection === kind.collection);
  return [kind.kind, ...(shared ? [] : [kind.collection]), ...kind.aliases];
}

function lockHeaders(options: WriteOptions | undefined): Readonly<Record<string, string>> {
  return options?.ifUnmodifiedSince === undefined ? {} : { 'if-unmodified-since': String(options.ifUnmodifiedSince) };
}

function bodyOf(answer: Answer): unknown {
  try {
    return JSON.parse(answer.text);
  } catch (cause) {
    throw new Problem('internal', 'the server answered with something that is not JSON; is the URL that of a control plane?', { cause });
  }
}
