import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { type Client, createClient } from '@virt8ra/client';
import type { Enrolment } from '@virt8ra/contract';
import type { LongProcess } from '../../demo/long-process.js';
import { removeNetworksOf } from '../../demo/own-networks.js';
import { endProcessesOn } from '../../demo/own-processes.js';
import { choosePorts, startControlPlane, startHostAgent } from '../../demo/programs.js';
import { type DemoSite, describeSites, sites, sitesAreReady } from '../../demo/world.js';
import { killProcess, type ProcessLine, processLine, processTable } from './process-table.js';

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const asRoot = process.getuid?.() === 0;

/** What is killed: `image-server` is a qemu-nbd of a mover or of a reading of digests. */
export const victims = ['server', 'database', 'source-agent', 'target-agent', 'mover', 'image-server'] as const;
export type Victim = (typeof victims)[number];

/** A server with its own PostgreSQL and the agents of two sites, as programs of their own. */
export interface Plane {
  readonly root: string;
  readonly asRoot: boolean;
  readonly state: string;
  readonly sites: readonly [DemoSite, DemoSite];
  /** Repeats what may be repeated while the server is away. */
  readonly client: Client;
  readonly serverPid: number;
  agentOf(site: string): Agent;
  /**
   * SIGKILL, and after `downMs` a start of what a service manager would start again; resolves when that is up. False when there was no such
   * process.
   */
  strike(victim: Victim, source: string, downMs: number): Promise<boolean>;
  /** Makes a control plane backup; answers its file. */
  backUp(): Promise<string>;
  /** Everything of the server is lost, and it is made anew from a backup. Hosts go on. */
  loseAndRestore(file: string): Promise<void>;
  /** What server and agents logged. */
  logs(): string;
  /** Stops server and agents in order. */
  stop(): Promise<void>;
  /** Ends whatever is still there and removes the state. */
  destroy(): Promise<void>;
}

export interface Agent {
  readonly site: DemoSite;
  readonly state: string;
  /** Where its sockets and those of its movers are. */
  readonly runtime: string;
  /** As taps and bridges are marked with. */
  readonly id: string;
  readonly pid: number;
}

export async function startPlane(signal: AbortSignal): Promise<Plane> {
  const state = mkdtempSync(join(tmpdir(), 'v8k-'));
  chmodSync(state, 0o755);
  mkdirSync(join(state, 'logs'));
  const pair = [sites[0], sites[1]] as const;
  const ports = { ...(await choosePorts({ api: 0, agents: 0 })), access: ownAccessPorts() };
  let server: LongProcess | undefined;
  const startServer = async () =>
    await startControlPlane(root, state, ports, (process) => {
      server = process;
    });
  const enrolments = new Map<string, Enrolment>();
  const agents = new Map<string, LongProcess>();
  const runtimeOf = (site: DemoSite) => join(state, `${site.host}-run`);
  const startAgent = (site: DemoSite) => {
    const enrolment = enrolments.get(site.name);
    if (enrolment !== undefined) agents.set(site.name, startHostAgent(root, state, enrolment, asRoot ? 'bridge' : 'user', runtimeOf(site)));
  };

  const { url, token } = await startServer();
  const client = createClient({ server: url, token, awaitServer: true, patienceSeconds: 60, signal });
  const agentOf = (name: string): Agent => {
    const site = pair.find((each) => each.name === name);
    if (site === undefined) throw new Error(`there is no site ${name}`);
    const directory = join(state, site.host);
    const id = createHash('sha256').update(directory).digest('hex').slice(0, 10);
    return { site, state: directory, runtime: runtimeOf(site), id, pid: agents.get(name)?.pid ?? 0 };
  };

  const find = (victim: 'database' | 'mover' | 'image-server'): ProcessLine | undefined => {
    if (victim === 'database') return postmaster(state);
    const table = processTable();
    const parents = pair.map(({ name }) => agentOf(name).pid);
    const movers = table.filter(({ parent, words }) => parents.includes(parent) && words.some((word) => word.endsWith('/mover-main.js')));
    if (victim === 'mover') return movers[0];
    return table.find(({ words }) => words[0]?.endsWith('qemu-nbd') === true && words.join(' ').includes(`${state}/`));
  };

  async function strike(victim: Victim, source: string, downMs: number): Promise<boolean> {
    switch (victim) {
      case 'server':
        await server?.kill();
        await sleep(downMs);
        await startServer();
        return true;
      case 'source-agent':
      case 'target-agent': {
        const site = pair.find(({ name }) => (name === source) === (victim === 'source-agent')) ?? pair[0];
        await agents.get(site.name)?.kill();
        await sleep(downMs);
        startAgent(site);
        return true;
      }
      case 'database':
      case 'mover':
      case 'image-server': {
        const found = find(victim);
        return found !== undefined && killProcess(found);
      }
    }
  }

  /** A command of the server, on its state. */
  async function serverCommand(...words: readonly string[]): Promise<void> {
    const run = promisify(execFile);
    await run(process.execPath, [join(root, 'packages/server/dist/main.js'), ...words, '--state', join(state, 'server')], {
      timeout: 120_000,
    });
  }

  async function stop(): Promise<void> {
    await Promise.all([...agents.values()].map(async (agent) => await agent.stop(20)));
    await server?.stop(30);
  }

  const plane: Plane = {
    root,
    asRoot,
    state,
    sites: pair,
    client,
    get serverPid() {
      return server?.pid ?? 0;
    },
    agentOf,
    strike,
    async backUp() {
      const directory = join(state, 'backups');
      await serverCommand('backup', '--to', directory);
      const file = readdirSync(directory).find((name) => name.endsWith('.v8backup'));
      if (file === undefined) throw new Error('no backup was made');
      return join(directory, file);
    },
    async loseAndRestore(file) {
      await server?.kill();
      const lost = postmaster(state);
      if (lost !== undefined) await killProcess(lost);
      await endProcessesOn(join(state, 'server', 'pg'));
      rmSync(join(state, 'server'), { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
      await serverCommand('restore', file);
      await startServer();
    },
    logs: () =>
      ['server', ...pair.map(({ host }) => host)]
        .map((name) => `--- ${name}\n${readFileSync(join(state, 'logs', `${name}.log`), 'utf8')}`)
        .join('\n'),
    stop,
    async destroy() {
      await stop();
      await endProcessesOn(state);
      removeNetworksOf(state);
      rmSync(state, { recursive: true, force: true });
    },
  };
  try {
    await describeSites(client, pair);
    for (const site of pair) {
      enrolments.set(site.name, await client.enrol(site.host));
      startAgent(site);
    }
    await sitesAreReady(client, { signal }, pair);
    return plane;
  } catch (error) {
    await plane.destroy();
    throw error;
  }
}

/** A killed server must find its endpoints' ports free again, beside whatever else runs on this machine. */
function ownAccessPorts(): string {
  const first = 21_000 + (process.pid % 400) * 20;
  return `${first}-${first + 19}`;
}

/** The database's first process, as its own file names it. */
function postmaster(state: string): ProcessLine | undefined {
  const data = join(state, 'server', 'pg', 'data');
  const line = processLine(Number(readFileSync(join(data, 'postmaster.pid'), 'utf8').split('\n')[0]));
  return line?.words.includes(data) === true ? line : undefined;
}
