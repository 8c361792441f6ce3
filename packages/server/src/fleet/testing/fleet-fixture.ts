import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { type HostObject, Problem } from '@virt8ra/contract';
import { createRecordedLog, type RecordedLog, type TestDatabase } from '@virt8ra/engine/testing';
import type { ContentIntake } from '../backup-route.js';
import { createFleet, type Fleet, type FleetOptions } from '../fleet.js';
import type { TransferProgress } from '../progress-gate.js';
import { type SimulatedAgent, type SimulatedAgentOptions, startSimulatedAgent } from './simulated-agent.js';
import { createSimulatedHosts, type SimulatedHosts } from './simulated-hosts.js';

/** A listening fleet with its own keys, and what it told. */
export interface FleetFixture {
  readonly fleet: Fleet;
  readonly log: RecordedLog;
  readonly stateDirectory: string;
  readonly hosts: SimulatedHosts;
  readonly observed: HostObject[];
  readonly hostChanges: string[];
  readonly progress: TransferProgress[];
  readonly artifacts: Map<string, Buffer>;
  /** What came in of backups, by key. */
  readonly contents: Map<string, { readonly sha256: string; readonly sizeBytes: number; content: Buffer }>;
  /** Resolves when the host's first report is stored. */
  enrol(host: string, site: string, options?: Partial<SimulatedAgentOptions>): Promise<SimulatedAgent>;
  /** Resolves when `found` answers something; asked again whenever the fleet tells of anything, and now and then. */
  until<Found>(
    what: string,
    found: () => Promise<Found | undefined | false> | Found | undefined | false,
    timeoutMs?: number,
  ): Promise<Found>;
  stop(): Promise<void>;
}

/** `database` has the fleet's migrations. */
export async function startFleetFixture(database: TestDatabase, options: Partial<FleetOptions> = {}): Promise<FleetFixture> {
  const own = options.stateDirectory === undefined ? await mkdtemp(join(tmpdir(), 'virt8ra-fleet-')) : undefined;
  const stateDirectory = options.stateDirectory ?? own ?? '';
  const log = createRecordedLog();
  const hosts = createSimulatedHosts();
  const agents: SimulatedAgent[] = [];
  const observed: HostObject[] = [];
  const hostChanges: string[] = [];
  const progress: TransferProgress[] = [];
  const artifacts = new Map<string, Buffer>();
  const contents: FleetFixture['contents'] = new Map();
  const watchers = new Set<() => void>();
  const wake = (): void => {
    for (const watcher of watchers) watcher();
  };
  const fleet = await createFleet({
    pool: database.pool,
    epoch: 'epoch-1',
    serverId: `srv_${randomUUID()}`,
    listen: { host: '127.0.0.1', port: 0 },
    log,
    artifacts: {
      size: async (sha256) => artifacts.get(sha256)?.length,
      read: (sha256, start, end) => Readable.from([artifacts.get(sha256)?.subarray(start, end + 1) ?? Buffer.alloc(0)]),
    },
    contents: memoryIntake(contents),
    onObserved: (objects) => {
      observed.push(...objects);
      wake();
    },
    onHostChanged: (host) => {
      hostChanges.push(host);
      wake();
    },
    onProgress: (update) => {
      progress.push(update);
      wake();
    },
    ...options,
    stateDirectory,
  });
  await fleet.listen();
  fleet.plan();
  const fixture: FleetFixture = {
    fleet,
    log,
    stateDirectory,
    hosts,
    observed,
    hostChanges,
    progress,
    artifacts,
    contents,
    async enrol(host, site, agentOptions = {}) {
      const enrolment = await fleet.createEnrolment(host, site);
      const agent = await startSimulatedAgent({ enrolment, hosts, ...agentOptions });
      agents.push(agent);
      await fixture.until('the host reports', async () => {
        return (await fleet.port.look(site, { host, type: 'network', key: 'none' })).reportedAt;
      });
      return agent;
    },
    async until(what, found, timeoutMs = 20_000) {
      const deadline = performance.now() + timeoutMs;
      for (;;) {
        const answer = await found();
        if (answer !== undefined && answer !== false) return answer;
        if (performance.now() > deadline) {
          const troubles = log.lines.filter(({ level }) => level === 'warn' || level === 'error');
          throw new Error(`did not happen within ${timeoutMs} ms: ${what}; the log says ${JSON.stringify(troubles.slice(-10))}`);
        }
        await new Promise<void>((resolve) => {
          const go = (): void => {
            clearTimeout(timer);
            watchers.delete(go);
            resolve();
          };
          const timer = setTimeout(go, 25);
          watchers.add(go);
        });
      }
    },
    async stop() {
      await Promise.all(agents.map(async (agent) => await agent.stop()));
      await fleet.stop();
      if (own !== undefined) await rm(own, { recursive: true, force: true });
    },
  };
  return fixture;
}

function memoryIntake(contents: FleetFixture['contents']): ContentIntake {
  const stateOf = (key: string) => {
    const held = contents.get(key);
    return held === undefined ? undefined : { offset: held.content.length, sizeBytes: held.sizeBytes };
  };
  return {
    received: async (key) => stateOf(key),
    async begin(key, { sha256, sizeBytes }) {
      if (contents.get(key)?.sha256 !== sha256) contents.set(key, { sha256, sizeBytes, content: Buffer.alloc(0) });
      return { offset: contents.get(key)?.content.length ?? 0, sizeBytes };
    },
    async append(key, offset, content) {
      const held = contents.get(key);
      if (held === undefined || held.content.length !== offset) throw new Problem('conflict', 'it does not continue there');
      for await (const piece of content) held.content = Buffer.concat([held.content, piece]);
      return { offset: held.content.length, sizeBytes: held.sizeBytes };
    },
  };
}
