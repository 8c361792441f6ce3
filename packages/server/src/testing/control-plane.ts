import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Enrolment } from '@virt8ra/contract';
import { createRecordedLog, type RecordedLog, startTestPostgres } from '@virt8ra/engine/testing';
import { type App, startApp } from '../app.js';
import { parseConfig } from '../config.js';
import { type SimulatedAgent, type SimulatedAgentOptions, startSimulatedAgent } from '../fleet/testing/simulated-agent.js';
import { createSimulatedHosts, type SimulatedHosts } from '../fleet/testing/simulated-hosts.js';
import { createToken } from '../token-command.js';
import { createAnswerCheck } from './described-answers.js';

export interface Answer {
  readonly status: number;
  /** The `content-type` header, where there is one. */
  readonly type?: string | undefined;
  readonly body: unknown;
}

/** The whole control plane on a real PostgreSQL, asked over HTTP, with simulated hosts on real links. */
export interface ControlPlane {
  readonly url: string;
  /** All that the API serves. */
  readonly routes: App['routes'];
  readonly token: string;
  /** A token by the words of `token create`. */
  tokenFor(...words: readonly string[]): Promise<string>;
  /** Of its database. */
  readonly databaseUrl: string;
  readonly hosts: SimulatedHosts;
  readonly log: RecordedLog;
  /** Raises when the answer is not as the served description has it. */
  call(method: string, path: string, body?: unknown): Promise<Answer>;
  /** The same check, for those who ask by themselves. */
  assertDescribed(method: string, path: string, answer: Answer): void;
  /** Sends the content of an image import. */
  upload(path: string, content: Buffer): Promise<void>;
  /** Asks again until `accept` answers something. Raises with the last answer. */
  until<Found>(path: string, accept: (answer: Answer) => Found | undefined | false, timeoutMs?: number): Promise<Found>;
  /** Another host of a site, with a connected agent. */
  addHost(name: string, site: string, options?: HostOptions): Promise<SimulatedAgent>;
  /** Provider, account, site, host and a connected agent. */
  addSite(name: string, options?: HostOptions & { readonly publicAddresses?: readonly string[] }): Promise<SimulatedAgent>;
  /** Another server beside it, on the same state and database; ends with it. Answers its URL. */
  addReplica(): Promise<string>;
  /** Stops the server and starts another at the same addresses, on the same state and database. */
  restart(): Promise<void>;
  stop(): Promise<void>;
}

type HostOptions = Pick<SimulatedAgentOptions, 'accessPort' | 'facts' | 'features' | 'delays' | 'place'>;

const topology = '/providers/virt8ra.topology/v1beta1';

/** `options`: further ones of the server, such as `--api-profile`; `variables`: the same from its environment. */
export async function startControlPlane(
  options: readonly string[] = [],
  variables: Readonly<Record<string, string>> = {},
): Promise<ControlPlane> {
  const postgres = await startTestPostgres();
  const { config: database } = await postgres.createDatabase();
  const state = await mkdtemp(join(tmpdir(), 'virt8ra-control-plane-'));
  const log = createRecordedLog();
  const hosts = createSimulatedHosts();
  const agents: SimulatedAgent[] = [];
  const databaseUrl = `postgres://postgres@localhost/${String(database.database)}?host=${encodeURIComponent(String(database.host))}`;
  const environment = { ...variables, DATABASE_URL: databaseUrl };
  const uid = process.getuid?.() ?? 0;
  const start = async (api: string, agentsAt: string): Promise<App> =>
    await startApp(parseConfig(['--state', state, '--api-listen', api, '--agents-listen', agentsAt, ...options], environment, uid), log);
  const replicas: App[] = [];
  let app = await start('127.0.0.1:0', '127.0.0.1:0');
  let agentsAt: string | undefined;
  const token = (await readFile(app.adminToken.path, 'utf8')).trim();

  const check = createAnswerCheck(await (await fetch(`${app.url}/openapi.json`)).json());
  const assertDescribed: ControlPlane['assertDescribed'] = (method, path, { status, type, body }) => {
    const faults = check(method, path, { status, type, body });
    if (faults.length > 0) throw new Error(`not as described: ${faults.join('; ')}: ${JSON.stringify(body)}`);
  };
  const call: ControlPlane['call'] = async (method, path, body) => {
    const response = await fetch(`${app.url}${path}`, {
      method,
      headers: { authorization: `Bearer ${token}`, ...(body === undefined ? {} : { 'content-type': 'application/json' }) },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    const answer = {
      status: response.status,
      type: response.headers.get('content-type') ?? undefined,
      body: text === '' ? undefined : (JSON.parse(text) as unknown),
    };
    assertDescribed(method, path, answer);
    return answer;
  };
  const until: ControlPlane['until'] = async (path, accept, timeoutMs = 20_000) => {
    const end = Date.now() + timeoutMs;
    for (;;) {
      const answer = await call('GET', path);
      const found = accept(answer);
      if (found !== undefined && found !== false) return found;
      if (Date.now() > end) throw new Error(`${path} never came to it: ${JSON.stringify(answer)}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  };
  const put = async (path: string, spec: unknown): Promise<void> => {
    const { status, body } = await call('PUT', path, { spec });
    if (status !== 200 && status !== 201) throw new Error(`PUT ${path}: ${JSON.stringify(body)}`);
  };
  const addHost: ControlPlane['addHost'] = async (name, site, options) => {
    await put(`${topology}/hosts/${name}`, { siteRef: `sites/${site}` });
    const { status, body } = await call('POST', `${topology}/hosts/${name}/enrol`);
    if (status !== 200) throw new Error(`enrol: ${JSON.stringify(body)}`);
    const enrolment = body as Enrolment;
    agentsAt = new URL(enrolment.url).host;
    const agent = await startSimulatedAgent({ ...options, enrolment, hosts });
    agents.push(agent);
    return agent;
  };
  return {
    get url() {
      return app.url;
    },
    get routes() {
      return app.routes;
    },
    tokenFor: async (...words) => await createToken([...words, '--state', state, ...options], environment, uid),
    databaseUrl,
    async addReplica() {
      const replica = await start('127.0.0.1:0', '127.0.0.1:0');
      replicas.push(replica);
      return replica.url;
    },
    addHost,
    async restart() {
      const { url } = app;
      await app.stop();
      app = await start(new URL(url).host, agentsAt ?? '127.0.0.1:0');
    },
    token,
    hosts,
    log,
    call,
    assertDescribed,
    async upload(path, content) {
      const response = await fetch(`${app.url}${path}`, {
        method: 'PATCH',
        headers: { authorization: `Bearer ${token}`, 'content-type': 'application/offset+octet-stream', 'upload-offset': '0' },
        body: content,
      });
      if (!response.ok) throw new Error(`PATCH ${path}: ${await response.text()}`);
    },
    until,
    async addSite(name, { publicAddresses, ...options } = {}) {
      await put(`${topology}/providers/test`, { displayName: 'Test', legalSeat: 'PL' });
      await put(`${topology}/accounts/test`, { providerRef: 'providers/test', driver: 'agent' });
      await put(`${topology}/sites/${name}`, {
        accountRef: 'accounts/test',
        country: 'PL',
        tier: 'edge',
        ...(publicAddresses === undefined ? {} : { publicAddresses }),
      });
      return await addHost(`${name}-1`, name, options);
    },
    async stop() {
      await Promise.all(agents.map(async (agent) => await agent.stop()));
      await Promise.all(replicas.map(async (replica) => await replica.stop()));
      await app.stop();
      await postgres.stop();
      await rm(state, { recursive: true, force: true, maxRetries: 5 });
    },
  };
}
