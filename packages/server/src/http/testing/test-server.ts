import { buffer } from 'node:stream/consumers';
import {
  blockStorage,
  host,
  image,
  imageImport,
  instance,
  migration,
  type NetworkSpec,
  network,
  Problem,
  region,
  roleAssignment,
  site,
  storageSku,
  subnet,
  workspace,
} from '@virt8ra/contract';
import { createRecordedLog, type RecordedLog, startTestPostgres } from '@virt8ra/engine/testing';
import type { LightMyRequestResponse } from 'fastify';
import type { Pool } from 'pg';
import { Registry } from 'prom-client';
import type { KindBehaviour, Subject } from '../../kinds/behaviour.js';
import { createStore } from '../../resources/create-store.js';
import { resourceMigrations } from '../../resources/migrations.js';
import type { Store } from '../../resources/store.js';
import { streamMigrations } from '../../streams/migrations.js';
import { createStreamTickets } from '../../streams/tickets.js';
import { createAnswerCheck } from '../../testing/described-answers.js';
import { createHttpServer, type HttpServer, type HttpServerOptions } from '../http-server.js';
import type { OpenStream, StreamRoutesOptions } from '../stream-routes.js';

const subjects: Readonly<Record<string, Omit<Subject, 'remote'>>> = {
  'operator-token': { name: 'operator', operator: true, tenants: 'all' },
  'acme-token': { name: 'ann', operator: false, tenants: ['acme', 'second'], roles: ['seca.admin'] },
  'roleless-token': { name: 'dan', operator: false, tenants: ['acme'] },
  'other-token': { name: 'bob', operator: false, tenants: ['other'], roles: ['seca.admin'] },
};

export interface Call {
  readonly body?: unknown;
  readonly token?: string | null;
  readonly headers?: Readonly<Record<string, string>>;
}

/** The HTTP server on a real PostgreSQL, with behaviours that are just enough of each sort of kind. */
export interface TestServer {
  readonly http: HttpServer;
  readonly store: Store;
  readonly pool: Pool;
  readonly log: RecordedLog;
  readonly nudged: string[];
  readonly content: { bytes: Buffer };
  /** Raises when an answer is not as the served description has it; with behaviours of the test's own, their bodies are its own business. */
  call(method: 'GET' | 'PUT' | 'POST' | 'DELETE' | 'PATCH' | 'HEAD', path: string, call?: Call): Promise<LightMyRequestResponse>;
  /** Gives a role in tenant acme, or takes all of the subject's away, as another replica would. */
  assign(sub: string, role: string | undefined): Promise<void>;
  stop(): Promise<void>;
}

export const workspacesPath = '/providers/seca.workspace/v1/tenants/acme/workspaces';
export const disksPath = '/providers/seca.storage/v1/tenants/acme/workspaces/prod/block-storages';
export const instancesPath = '/providers/seca.compute/v1/tenants/acme/workspaces/prod/instances';
export const importsPath = '/providers/virt8ra.image/v1beta1/tenants/acme/image-imports';
export const sitesPath = '/providers/virt8ra.topology/v1beta1/sites';
export const eventsPath = '/providers/virt8ra.events/v1beta1/tenants/acme/events';
export const siteSpec = { accountRef: 'accounts/a', country: 'PL', tier: 'edge' };

export interface TestServerOptions extends Partial<Omit<HttpServerOptions, 'streams'>> {
  readonly openStream?: OpenStream;
  readonly streamLimits?: Pick<StreamRoutesOptions, 'perSubject' | 'longestSeconds'>;
}

export async function startTestServer({ openStream, streamLimits, ...options }: TestServerOptions = {}): Promise<TestServer> {
  const postgres = await startTestPostgres();
  const { pool } = await postgres.createDatabase([...resourceMigrations, ...streamMigrations]);
  const log = createRecordedLog();
  const nudged: string[] = [];
  const content = { bytes: Buffer.alloc(0) };
  const store = createStore({ pool, queue: { nudge: async (keys) => void nudged.push(String(keys)) } });
  const http = createHttpServer({
    store,
    pool,
    log,
    behaviours: testBehaviours,
    authenticate: async ({ authorization, remote }) => {
      const subject = subjects[authorization?.replace(/^Bearer /, '') ?? ''];
      if (subject === undefined) throw new Problem('unauthorized', 'the token is missing or not valid');
      return { ...subject, remote };
    },
    region: 'eu-test',
    metrics: new Registry(),
    contents: {
      'image-import': {
        head: async (resource) => ({ offset: content.bytes.length, sizeBytes: sizeOf(resource.spec) }),
        append: async (resource, _offset, octets) => {
          content.bytes = Buffer.concat([content.bytes, await buffer(octets)]);
          return { offset: content.bytes.length, sizeBytes: sizeOf(resource.spec) };
        },
      },
    },
    ...(openStream === undefined ? {} : { streams: { tickets: createStreamTickets(pool), open: openStream, ...streamLimits } }),
    ...options,
  });
  const described = (await http.app.inject({ url: '/openapi.json', headers: { authorization: 'Bearer operator-token' } })).json<unknown>();
  const check = createAnswerCheck(described);
  return {
    http,
    store,
    pool,
    log,
    nudged,
    content,
    async call(method, path, { body, token = 'acme-token', headers = {} } = {}) {
      const answer = await http.app.inject({
        method,
        url: path,
        headers: {
          ...(token === null ? {} : { authorization: `Bearer ${token}` }),
          ...(body === undefined ? {} : { 'content-type': 'application/json' }),
          ...headers,
        },
        ...(body === undefined ? {} : { payload: typeof body === 'string' || Buffer.isBuffer(body) ? body : JSON.stringify(body) }),
      });
      assertDescribed(check, method, path, answer, options.behaviours === undefined);
      return answer;
    },
    async assign(sub, role) {
      const address = { tenant: 'acme', name: `of-${sub}` };
      await store.transaction(async (tx) => {
        const spec = { subs: [sub], roles: [role], scopes: [{}] };
        if (role !== undefined) await tx.put({ kind: roleAssignment, address, spec, state: 'active', conditions: [] });
        else await tx.remove((await tx.lockAt(roleAssignment, address))?.uid ?? 'res_');
      });
    },
    async stop() {
      await http.stop();
      await postgres.stop();
    },
  };
}

function assertDescribed(
  check: ReturnType<typeof createAnswerCheck>,
  method: string,
  path: string,
  answer: LightMyRequestResponse,
  withBody: boolean,
): void {
  const { statusCode: status, payload } = answer;
  const type = payload === '' ? undefined : String(answer.headers['content-type']);
  const isJson = type !== undefined && /^application\/(\w+\+)?json/.test(type);
  const faults = check(method, path, {
    status,
    type,
    body: isJson && (withBody || status >= 400) ? (JSON.parse(payload) as unknown) : undefined,
  });
  if (faults.length > 0) throw new Error(`not as described: ${faults.join('; ')}: ${payload.slice(0, 1000)}`);
}

function sizeOf(spec: unknown): number {
  return (spec as { readonly source: { readonly upload: { readonly sizeBytes: number } } }).source.upload.sizeBytes;
}

const enrolment = { token: 'once', expiresAt: '2027-01-01T00:00:00Z', url: 'https://127.0.0.1:1', caSha256: '0'.repeat(64), site: 's' };

const done = async () => ({ done: true }) as const;

const testBehaviours: readonly KindBehaviour[] = [
  { kind: region },
  {
    kind: workspace,
    async admitDelete(tx, resource) {
      const [held = 0] = await tx.heldBy([resource.address]);
      if (held > 0) throw new Problem('conflict', `workspace ${resource.address.name} still holds ${held} resources`);
    },
    async present(reader, resources) {
      const held = await reader.heldBy(resources.map(({ address }) => address));
      return held.map((resourceCount) => ({ resourceCount }));
    },
  },
  { kind: storageSku },
  {
    kind: blockStorage,
    async admitPut(_tx, { next, previous }) {
      const { sizeGB } = next.spec as { readonly sizeGB: number };
      if (previous !== undefined && sizeGB < (previous.spec as { readonly sizeGB: number }).sizeGB) {
        throw new Problem('validation', '/spec/sizeGB may only grow', { sources: [{ pointer: '/spec/sizeGB' }] });
      }
      return { outcome: 'active', status: { sizeGB }, type: 'Placed', reason: 'WaitingForFirstConsumer' };
    },
  },
  { kind: image },
  {
    kind: imageImport,
    actions: { cancel: async () => undefined },
    reconcile: done,
  },
  {
    kind: instance,
    async admitPut() {
      return { outcome: 'creating', status: { powerState: 'off' } };
    },
    reconcile: done,
    actions: {
      start: async (tx, resource) => await tx.setStatus(resource.uid, { powerState: 'on' }, { state: 'updating' }),
      stop: async () => {
        throw new Problem('conflict', 'it is off');
      },
      restart: async () => undefined,
      rescue: async () => undefined,
      'end-rescue': async () => undefined,
    },
  },
  {
    kind: network,
    async admitPut(_tx, { next }) {
      return { outcome: 'active', status: { cidr: (next.spec as NetworkSpec).cidr } };
    },
  },
  { kind: subnet },
  { kind: site },
  {
    kind: host,
    actions: {
      enrol: async (_tx, { address }) => ({ ...enrolment, host: address.name }),
      cordon: async () => undefined,
      uncordon: async () => undefined,
      drain: async () => undefined,
      'drain-plan': async () => ({ instances: [], blockStorages: [] }),
      cancel: async () => undefined,
      maintenance: async () => undefined,
      rekey: async () => undefined,
      update: async () => undefined,
    },
  },
  {
    kind: migration,
    actions: {
      cancel: async () => undefined,
      cutover: async () => undefined,
      return: async () => undefined,
      release: async () => undefined,
    },
    reconcile: done,
  },
];
