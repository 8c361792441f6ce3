import {
  type Address,
  type AuditRecord,
  type AuditVerification,
  type Caller,
  type Enrolment,
  type HostPath,
  type HostUsage,
  type InstanceUsage,
  instance,
  type Kind,
  type LoginIssuer,
  type MigrationPlan,
  type MigrationPlanRequest,
  type OpenedStream,
  Problem,
  type Progress,
  type ResourceList,
  type ResourceOf,
  type RestoreDifferences,
  type RestoreRelease,
  type RestoreReleased,
  type SpecOf,
  type UsageRecord,
} from '@virt8ra/contract';
import { type DownloadOptions, type DownloadSource, downloadFile } from './download.js';
import { type Feed, type FeedOptions, openFeed } from './feed.js';
import { type FollowOptions, followResource, type Sighting } from './follow.js';
import { bodyOf } from './json-answer.js';
import { createRequest, type OperationAnswer, type Request } from './operation.js';
import { collectionPath, pathOf } from './path.js';
import { openStream } from './stream.js';
import { createTransport, type TransportOptions } from './transport.js';
import { type UploadOptions, type UploadSource, uploadContent } from './upload.js';
import { type WaitOptions, type Wanted, waitForResource } from './wait.js';

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

/**
 * Typed client of a control plane. Every method raises `Problem`s: the server's own, or `unavailable` with the facts `fault` and `url`
 * when no answer came. GET, PUT and DELETE are repeated over short trouble (see `TransportOptions`), POST never: a lost reply to a
 * POST is `unknown-outcome`.
 */
export interface Client {
  readonly server: string;
  /** Any operation of the description, by method and path. What follows is for what needs more than one request, or is asked often. */
  readonly request: Request;
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
  /** Tells a resource now and at every change. The feed is opened before the first read, so that nothing falls between. */
  follow<K extends Kind>(kind: K, address: Address, options?: FollowOptions): AsyncGenerator<Sighting<ResourceOf<K>>>;
  /** Waits until a resource is as it is wanted: a state, `deleted`, or a question of one's own. */
  waitFor<K extends Kind>(kind: K, address: Address, wanted: Wanted<K>, options?: WaitOptions<K>): Promise<ResourceOf<K> | undefined>;
  /** A single-use token for the agent of a host. */
  enrol(hostName: string): Promise<Enrolment>;
  /** Progress of a resource's work; undefined when none is under way. */
  progress(kind: Kind, address: Address, signal?: AbortSignal): Promise<Progress | undefined>;
  /** Change feed; resolves when the server has accepted. */
  events(options: FeedOptions): Promise<Feed>;
  /** Content of an image import, or of another kind, resumed where an earlier attempt stopped. */
  upload(address: Address, source: UploadSource, options?: UploadOptions): Promise<void>;
  /** Octets of a file that belongs to a resource, such as one of a backup export. A cut is healed. */
  download(source: DownloadSource, options?: DownloadOptions): AsyncIterable<Uint8Array>;
  /** A stream to a place in an instance: `console`, `vnc` or `ports/PORT`. Resolves when the place is reached. */
  stream(address: Address, place: string, query?: Readonly<Record<string, string | number>>, signal?: AbortSignal): Promise<OpenedStream>;
  /** All that is kept of the output of an instance's console. */
  consoleLog(address: Address): AsyncIterable<Uint8Array>;
  /** What each host used over its last ten seconds; those that send nothing are left out. */
  hostUsage(): Promise<readonly HostUsage[]>;
  /** The same of the instances of a workspace. */
  instanceUsage(within: { readonly tenant: string; readonly workspace: string }): Promise<readonly InstanceUsage[]>;
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
  /** What a migration would do and take; changes nothing. */
  planMigration(within: { readonly tenant: string; readonly workspace: string }, asked: MigrationPlanRequest): Promise<MigrationPlan>;
  /** What was used, hour by hour, of a workspace or of a whole tenant. */
  usageRecords(of: {
    readonly tenant: string;
    readonly workspace?: string | undefined;
    readonly from?: string | undefined;
    readonly to?: string | undefined;
  }): AsyncIterable<UsageRecord>;
  /** Who the control plane takes the token for. */
  whoami(): Promise<Caller>;
  /** Where a token is to be had; needs none. */
  loginIssuers(): Promise<readonly LoginIssuer[]>;
  /** What differs between a control plane that was restored and its hosts. */
  restoreDifferences(): Promise<RestoreDifferences>;
  /** Ends the standstill after a restore. */
  restoreRelease(choice: RestoreRelease): Promise<RestoreReleased>;
  wellKnown(): Promise<WellKnown>;
  /** Whether the server says that it is ready; raises only when it cannot be reached. */
  ready(): Promise<boolean>;
}

/** Where each API is. */
export type WellKnown = OperationAnswer<'GET', '/.wellknown/secapi'>;

export type ClientOptions = TransportOptions;

export function createClient(options: ClientOptions): Client {
  const transport = createTransport(options);
  const request = createRequest(transport);

  const find = async <K extends Kind>(kind: K, address: Address, signal?: AbortSignal) => {
    const answer = await transport.call({ method: 'GET', path: pathOf(kind, address), signal, accept: [404] });
    return answer.status === 404 ? undefined : (bodyOf(answer) as ResourceOf<K>);
  };

  /** What comes by pages, page by page. */
  async function* pages<Item>(page: (skipToken: string | undefined) => Promise<Page<Item>>): AsyncGenerator<Item> {
    let skipToken: string | undefined;
    do {
      const { items, metadata } = await page(skipToken);
      yield* items;
      skipToken = metadata.skipToken;
    } while (skipToken !== undefined && skipToken !== '');
  }

  const client: Client = {
    server: transport.server,
    request,
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
      return await request('POST', '/providers/virt8ra.topology/v1beta1/hosts/{name}/enrol', { path: { name: hostName } });
    },
    async progress(kind, address, signal) {
      const answer = await transport.call({ method: 'GET', path: `${pathOf(kind, address)}/progress`, signal, accept: [404] });
      return answer.status === 404 ? undefined : (bodyOf(answer) as Progress);
    },
    events: (options) => openFeed(transport, options),
    upload: (address, source, options) => uploadContent(transport, address, source, options),
    download: (source, options) => downloadFile(transport, source, options),
    stream: async (address, place, query = {}, signal) =>
      await openStream(transport, { path: `${pathOf(instance, address)}/${place}`, query, signal }),
    async *consoleLog(address) {
      yield* (await transport.open({ method: 'GET', path: `${pathOf(instance, address)}/console/log` }, 60)) as AsyncIterable<Uint8Array>;
    },
    follow: (kind, address, options) => followResource(client, kind, address, options),
    waitFor: async (kind, address, wanted, options) =>
      await waitForResource((following) => followResource(client, kind, address, following), kind, address, wanted, options),
    async hostUsage() {
      return (await request('GET', '/providers/virt8ra.metrics/v1beta1/hosts')).items;
    },
    async instanceUsage(path) {
      return (await request('GET', '/providers/virt8ra.metrics/v1beta1/tenants/{tenant}/workspaces/{workspace}/instances', { path })).items;
    },
    async paths() {
      return (await request('GET', '/providers/virt8ra.metrics/v1beta1/paths')).items;
    },
    async *audit({ tenant, resource, pageSize = 1000 }) {
      const base = '/providers/virt8ra.audit/v1beta1';
      yield* pages<AuditRecord>(async (skipToken) => {
        const query = without({ resource, limit: pageSize, skipToken });
        if (tenant === undefined) return await request('GET', `${base}/entries`, { query });
        return await request('GET', `${base}/tenants/{tenant}/entries`, { path: { tenant }, query });
      });
    },
    async auditVerification({ after, head }) {
      return await request('GET', '/providers/virt8ra.audit/v1beta1/verification', { query: without({ after, head }) });
    },
    async planMigration(path, body) {
      const collection = '/providers/virt8ra.migration/v1beta1/tenants/{tenant}/workspaces/{workspace}/migration-plans';
      return await request('POST', collection, { path, body });
    },
    async *usageRecords({ tenant, workspace, from, to }) {
      const base = '/providers/virt8ra.usage/v1beta1/tenants/{tenant}';
      yield* pages<UsageRecord>(async (skipToken) => {
        const query = without({ from, to, limit: 1000, skipToken });
        if (workspace === undefined) return await request('GET', `${base}/usage-records`, { path: { tenant }, query });
        return await request('GET', `${base}/workspaces/{workspace}/usage-records`, { path: { tenant, workspace }, query });
      });
    },
    async whoami() {
      return await request('GET', '/providers/virt8ra.identity/v1beta1/whoami');
    },
    async loginIssuers() {
      return (await request('GET', '/providers/virt8ra.identity/v1beta1/login')).issuers;
    },
    async restoreDifferences() {
      return await request('GET', '/providers/virt8ra.restore/v1beta1/differences');
    },
    async restoreRelease(choice) {
      return await request('POST', '/providers/virt8ra.restore/v1beta1/release', { body: choice });
    },
    async wellKnown() {
      return await request('GET', '/.wellknown/secapi');
    },
    async ready() {
      const answer = await transport.call({ method: 'GET', path: 'readyz', repeatable: false, accept: [503] });
      return answer.status !== 503;
    },
  };
  return client;
}

interface Page<Item> {
  readonly items: readonly Item[];
  readonly metadata: { readonly skipToken?: string };
}

/** Members that are undefined are left out. */
function without<Fields extends object>(fields: Fields): { [name in keyof Fields]?: Exclude<Fields[name], undefined> } {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as {
    [name in keyof Fields]?: Exclude<Fields[name], undefined>;
  };
}

function lockHeaders(options: WriteOptions | undefined): Readonly<Record<string, string>> {
  return options?.ifUnmodifiedSince === undefined ? {} : { 'if-unmodified-since': String(options.ifUnmodifiedSince) };
}
