import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { closeSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Client } from '@virt8ra/client';
import type { Enrolment } from '@virt8ra/contract';
import { guestDisk, importImage } from '../../demo/images.js';
import type { LongProcess } from '../../demo/long-process.js';
import { removeNetworksOf } from '../../demo/own-networks.js';
import { endProcessesOn } from '../../demo/own-processes.js';
import { type DemoSite, describeSites, sites, sitesAreReady, tenant } from '../../demo/world.js';
import { root, startServerApart, stateFolder } from '../server-apart.js';

/**
 * A control plane, and a host behind a NAT: its agent lives in a network namespace that can open connections to the control plane's agents'
 * port, and that nobody can open one to.
 */
export interface NatWorld {
  readonly state: string;
  readonly client: Client;
  readonly site: DemoSite;
  readonly url: string;
  readonly token: string;
  readonly signal: AbortSignal;
  /** Address of the host, for whoever wants to try. */
  readonly hostAddress: string;
  /** Runs a command in the host's namespace. */
  onHost(...words: readonly string[]): string;
  killAgent(): Promise<void>;
  startAgent(): void;
  logs(): string;
  destroy(): Promise<void>;
}

export async function startNatWorld(): Promise<NatWorld> {
  const state = stateFolder('v8n-');
  const stop = new AbortController();
  const net = createNat();
  let server: LongProcess | undefined;
  let agent: ChildProcess | undefined;
  const [site] = sites;
  const destroy = async (): Promise<void> => {
    stop.abort();
    agent?.kill('SIGKILL');
    await server?.stop(30);
    await endProcessesOn(state);
    removeNetworksOf(state);
    net.remove();
    rmSync(state, { recursive: true, force: true, maxRetries: 5 });
  };
  try {
    const apart = await startServerApart(state, net.outside, stop.signal);
    server = apart.server;
    const { client, url, token } = apart;
    await describeSites(client, [site]);
    const enrolment = await client.enrol(site.host);
    writeFileSync(join(state, 'enrolment'), enrolment.token, { mode: 0o600 });
    const startAgent = (): void => {
      agent = startAgentIn(net.namespace, state, enrolment);
    };
    startAgent();
    await sitesAreReady(client, { signal: stop.signal }, [site]);
    return {
      state,
      client,
      site,
      url,
      token,
      signal: stop.signal,
      hostAddress: net.inside,
      onHost: (...words) => run('ip', ['netns', 'exec', net.namespace, ...words]),
      async killAgent() {
        const ended = new Promise((resolve) => agent?.once('exit', resolve));
        agent?.kill('SIGKILL');
        await ended;
      },
      startAgent,
      logs: () => ['server', 'agent'].map((name) => `--- ${name}\n${readFileSync(join(state, 'logs', `${name}.log`), 'utf8')}`).join('\n'),
      destroy,
    };
  } catch (error) {
    await destroy();
    throw error;
  }
}

/** Brings the demo guest's image in. */
export async function importGuest({ client, signal }: NatWorld, name: string): Promise<void> {
  await importImage(client, tenant, name, await guestDisk(root), { signal });
}

function startAgentIn(namespace: string, state: string, { url, caSha256 }: Enrolment): ChildProcess {
  const log = openSync(join(state, 'logs', 'agent.log'), 'a', 0o600);
  const words = [
    ...['run', '--server', url, '--token-file', join(state, 'enrolment'), '--ca-sha256', caSha256],
    ...['--state', join(state, 'host'), '--network', 'bridge'],
  ];
  const child = spawn('ip', ['netns', 'exec', namespace, process.execPath, join(root, 'packages/agent/dist/main.js'), ...words], {
    stdio: ['ignore', log, log],
    env: { ...process.env, VIRT8RA_AGENT_RUNTIME: join(state, 'run') },
  });
  closeSync(log);
  return child;
}

/** A namespace joined to this one by a pair of interfaces; what comes in from here is dropped unless it was asked for from within. */
function createNat() {
  const unique = process.pid.toString(36);
  const namespace = `v8n-${unique}`;
  const [here, there] = [`v8nh${unique}`, `v8na${unique}`];
  const prefix = `10.213.${process.pid % 250}`;
  const [outside, inside] = [`${prefix}.1`, `${prefix}.2`];
  const within = (...words: string[]): string => run('ip', ['netns', 'exec', namespace, ...words]);
  const remove = (): void => {
    spawnSync('ip', ['link', 'delete', 'dev', here]);
    spawnSync('ip', ['netns', 'delete', namespace]);
  };
  try {
    run('ip', ['netns', 'add', namespace]);
    run('ip', ['link', 'add', here, 'type', 'veth', 'peer', 'name', there, 'netns', namespace]);
    run('ip', ['address', 'add', `${outside}/30`, 'dev', here]);
    run('ip', ['link', 'set', 'dev', here, 'up']);
    within('ip', 'link', 'set', 'dev', 'lo', 'up');
    within('ip', 'address', 'add', `${inside}/30`, 'dev', there);
    within('ip', 'link', 'set', 'dev', there, 'up');
    within('nft', `add table inet nat_world; add chain inet nat_world in { type filter hook input priority 0; policy accept; }`);
    within('nft', `add rule inet nat_world in iifname "${there}" ct state != { established, related } drop`);
  } catch (error) {
    remove();
    throw error;
  }
  return { namespace, outside, inside, remove };
}

function run(command: string, words: readonly string[]): string {
  const { status, stdout, stderr, error } = spawnSync(command, words, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${command} ${words.join(' ')}: ${error?.message ?? stderr.trim()}`);
  return stdout;
}
