import { randomBytes } from 'node:crypto';
import { Problem, webhook, workspace } from '@virt8ra/contract';
import { createWorkQueue, engineMigrations, type WorkQueue } from '@virt8ra/engine';
import { createRecordedLog, type RecordedLog, startTestPostgres } from '@virt8ra/engine/testing';
import type { Pool } from 'pg';
import { Registry } from 'prom-client';
import { createHttpServer } from '../../http/http-server.js';
import { identityMigrations } from '../../identity/migrations.js';
import { createRoleAssignmentBehaviour, createRoleBehaviour, seedSystemRoles } from '../../kinds/authorization/index.js';
import type { KindBehaviour, Subject } from '../../kinds/behaviour.js';
import { createServiceAccountBehaviour } from '../../kinds/service-account/index.js';
import { createWebhookBehaviour } from '../../kinds/webhook/index.js';
import { workspaceBehaviour } from '../../kinds/workspace/index.js';
import { createEgress } from '../../outbound/egress.js';
import { createOutbound, type OutboundOptions } from '../../outbound/outbound.js';
import { createStore } from '../../resources/create-store.js';
import { resourceMigrations } from '../../resources/migrations.js';
import type { Store } from '../../resources/store.js';
import { createSecretBox } from '../../secrets/secret-box.js';
import type { DeliveryOptions } from '../delivery.js';
import { webhookMigrations } from '../migrations.js';
import { startWebhooks } from '../start-webhooks.js';

export interface Replica {
  readonly queue: WorkQueue;
  /** As a crash would, for all that others see: nothing is put back, and what it is at goes on to its end. */
  stop(options?: { readonly abandon?: boolean }): Promise<void>;
}

export interface WebhookStatusShown {
  readonly state: string;
  readonly owner: string;
  readonly position: string;
  readonly failures: number;
  readonly lastDeliveredAt?: string;
  readonly nextAttemptAt?: string;
  readonly lastAttempt?: { readonly answer?: number; readonly problem?: string };
  readonly pending?: { readonly id: string; readonly since: string };
  readonly suspended?: { readonly since: string; readonly why: string };
  readonly secret: { readonly since: string; readonly previousUntil?: string };
  readonly deliveries: readonly {
    readonly id: string;
    readonly type: string;
    readonly attempts: number;
    readonly delivered: boolean;
    readonly answer?: number;
    readonly problem?: string;
  }[];
  readonly conditions: readonly { readonly state: string; readonly reason?: string; readonly message?: string }[];
}

/** Workspaces, roles, accounts and webhooks on a real PostgreSQL, asked over HTTP; as many replicas as are started. */
export interface WebhookWorld {
  readonly pool: Pool;
  readonly store: Store;
  readonly log: RecordedLog;
  /** Who is known, by token. */
  readonly subjects: Record<string, Omit<Subject, 'remote'>>;
  replica(
    name: string,
    more?: {
      readonly limits?: DeliveryOptions['limits'];
      readonly outbound?: Partial<OutboundOptions>;
      readonly resolve?: (name: string) => string;
    },
  ): Promise<Replica>;
  call(
    method: 'GET' | 'PUT' | 'POST' | 'DELETE',
    path: string,
    body?: unknown,
    token?: string,
  ): Promise<{ readonly status: number; readonly body: unknown }>;
  put(name: string, spec: object, token?: string): Promise<void>;
  act(name: string, action: string, body?: object): Promise<unknown>;
  status(name: string): Promise<WebhookStatusShown>;
  /** One change of a workspace; answers its label. */
  change(name: string, tenant?: string): Promise<string>;
  stop(): Promise<void>;
}

export const webhooksPath = '/providers/virt8ra.events/v1beta1/tenants/acme/webhooks';

export async function startWebhookWorld(ca: string): Promise<WebhookWorld> {
  const postgres = await startTestPostgres();
  const { pool } = await postgres.createDatabase([...engineMigrations, ...resourceMigrations, ...identityMigrations, ...webhookMigrations]);
  pool.options.max = 30;
  const log = createRecordedLog();
  const subjects: WebhookWorld['subjects'] = {
    operator: { name: 'operator', operator: true, tenants: ['acme', 'other'] },
    ann: { name: 'ann', operator: false, tenants: ['acme'], roles: ['seca.admin'] },
    bob: { name: 'bob', operator: false, tenants: ['acme'] },
    olga: { name: 'olga', operator: false, tenants: ['other'], roles: ['seca.admin'] },
  };
  const box = createSecretBox(randomBytes(32), 'webhooks');
  const egressWith = (resolve?: (name: string) => string) =>
    createEgress({
      allowPrivate: false,
      allow: ['127.0.0.1'],
      whose: { who: 'webhooks', option: 'webhooks.allow' },
      ...(resolve === undefined ? {} : { resolve: async (name) => [{ address: resolve(name), family: 4 }] }),
    });
  const spare = createWorkQueue({ pool, log, owner: 'nobody' });
  const store = createStore({ pool, queue: spare });
  const kinds = [workspace, webhook];
  const issuer = { issueToken: async () => 'token' };
  const behaviours = [
    workspaceBehaviour,
    createRoleBehaviour(kinds),
    createRoleAssignmentBehaviour({ region: 'eu-test' }),
    createServiceAccountBehaviour(issuer, () => new Date()),
    createWebhookBehaviour({ pool, queue: spare, box, egress: egressWith(), allowHttp: false, kinds, now: () => new Date() }),
  ] as readonly KindBehaviour[];
  await seedSystemRoles(
    store,
    ['acme', 'other'],
    behaviours.map(({ kind }) => kind),
  );
  const http = createHttpServer({
    store,
    pool,
    log,
    behaviours,
    region: 'eu-test',
    metrics: new Registry(),
    authenticate: async ({ authorization, remote }) => {
      const subject = subjects[authorization?.replace(/^Bearer /, '') ?? ''];
      if (subject === undefined) throw new Problem('unauthorized', 'the token is missing or not valid');
      return { ...subject, remote };
    },
  });
  const replicas = new Set<Replica>();
  const world: WebhookWorld = {
    pool,
    store,
    log,
    subjects,
    async replica(name, { limits, outbound, resolve } = {}) {
      const queue = createWorkQueue({ pool, log, owner: name, leaseSeconds: 2, idleSeconds: 1 });
      const quiet = startWebhooks({
        pool,
        store,
        queue,
        behaviours,
        region: 'eu-test',
        profile: 'standard',
        epoch: 'epoch123-and-more',
        outbound: createOutbound({ proxies: {}, ca: [ca], ...outbound }),
        egress: egressWith(resolve),
        box,
        log,
        limits: { backoff: { baseSeconds: 0.05, capSeconds: 0.2 }, ...limits },
      });
      await queue.start();
      const replica: Replica = {
        queue,
        async stop({ abandon = false } = {}) {
          replicas.delete(replica);
          await queue.stop({ abandon, graceSeconds: 5 });
          quiet();
        },
      };
      replicas.add(replica);
      return replica;
    },
    async call(method, path, body, token = 'ann') {
      const answer = await http.app.inject({
        method,
        url: path,
        headers: { authorization: `Bearer ${token}`, ...(body === undefined ? {} : { 'content-type': 'application/json' }) },
        ...(body === undefined ? {} : { payload: JSON.stringify(body) }),
      });
      return { status: answer.statusCode, body: answer.body === '' ? undefined : (JSON.parse(answer.body) as unknown) };
    },
    async put(name, spec, token) {
      const { status, body } = await world.call('PUT', `${webhooksPath}/${name}`, { spec }, token);
      if (status > 201) throw new Error(`PUT ${name}: ${JSON.stringify(body)}`);
    },
    async act(name, action, body = {}) {
      const answer = await world.call('POST', `${webhooksPath}/${name}/${action}`, body);
      if (answer.status > 202) throw new Error(`POST ${action}: ${JSON.stringify(answer.body)}`);
      return answer.body;
    },
    async status(name) {
      return ((await world.call('GET', `${webhooksPath}/${name}`)).body as { readonly status: WebhookStatusShown }).status;
    },
    async change(name, tenant = 'acme') {
      const count = randomBytes(6).toString('hex');
      const path = `/providers/seca.workspace/v1/tenants/${tenant}/workspaces/${name}`;
      const { status, body } = await world.call('PUT', path, { labels: { count }, spec: {} }, 'operator');
      if (status > 201) throw new Error(`PUT workspace: ${JSON.stringify(body)}`);
      return count;
    },
    async stop() {
      for (const replica of replicas) await replica.stop();
      await http.stop();
      await postgres.stop();
    },
  };
  return world;
}
