import { writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import type { Enrolment } from '@virt8ra/contract';
import { type LongProcess, startLongProcess } from './long-process.js';

export interface Ports {
  readonly api: number;
  readonly agents: number;
  /** Of access endpoints, FIRST-LAST; absent: the server's own choice. */
  readonly access?: string;
}

/** The wanted ports where they are free, else any: a restarted server must be found at the same. */
export async function choosePorts({ api, agents }: Ports = { api: 8480, agents: 8481 }): Promise<Ports> {
  return { api: await freePort(api), agents: await freePort(agents) };
}

export interface ControlPlane {
  readonly url: string;
  readonly token: string;
  readonly process: LongProcess;
  readonly readySeconds: number;
}

/** Starts the server on a state directory, new or used before, and waits until it is ready. */
export async function startControlPlane(
  root: string,
  state: string,
  ports: Ports,
  onStart: (process: LongProcess) => void,
): Promise<ControlPlane> {
  const directory = join(state, 'server');
  const begin = performance.now();
  const process = startLongProcess({
    name: 'the server',
    logFile: join(state, 'logs', 'server.log'),
    arguments: [
      '--enable-source-maps',
      join(root, 'packages/server/dist/main.js'),
      ...['--state', directory, '--api-listen', `127.0.0.1:${ports.api}`, '--agents-listen', `127.0.0.1:${ports.agents}`],
      ...(ports.access === undefined ? [] : ['--access-ports', ports.access]),
    ],
  });
  onStart(process);
  const ready = await process.said(/is ready at (\S+) after/, 60);
  const readySeconds = (performance.now() - begin) / 1000;
  const token = (await readFile(join(directory, 'admin-token'), 'utf8')).trim();
  return { url: ready[1] ?? '', token, process, readySeconds };
}

/** Starts the agent of a host: it enrols and links by itself. `runtime` is for its sockets; the agent's own choice by default. */
export function startHostAgent(
  root: string,
  state: string,
  enrolment: Enrolment,
  network: 'bridge' | 'user',
  runtime?: string,
): LongProcess {
  const { host } = enrolment;
  const tokenFile = join(state, `${host}.enrolment`);
  writeFileSync(tokenFile, enrolment.token, { mode: 0o600 });
  return startLongProcess({
    name: `the agent of ${host}`,
    logFile: join(state, 'logs', `${host}.log`),
    arguments: [
      '--enable-source-maps',
      join(root, 'packages/agent/dist/main.js'),
      ...['run', '--server', enrolment.url, '--token-file', tokenFile, '--ca-sha256', enrolment.caSha256],
      ...['--state', join(state, host), '--network', network, '--data-address', '127.0.0.1'],
    ],
    ...(runtime === undefined ? {} : { environment: { VIRT8RA_AGENT_RUNTIME: runtime } }),
  });
}

async function freePort(wanted: number): Promise<number> {
  const listen = async (port: number): Promise<number> =>
    await new Promise((resolve, reject) => {
      const server = createServer();
      server.once('error', reject);
      server.listen(port, '127.0.0.1', () => {
        const address = server.address();
        server.close(() => resolve(typeof address === 'object' && address !== null ? address.port : port));
      });
    });
  return await listen(wanted).catch(async () => await listen(0));
}
