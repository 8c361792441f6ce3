import { spawn } from 'node:child_process';
import { closeSync, openSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type SeparateMachine, SeparateMachines } from '@virt8ra/agent/testing';
import type { Client } from '@virt8ra/client';
import type { LongProcess } from '../../demo/long-process.js';
import { type DemoSite, describeSites, sites, sitesAreReady } from '../../demo/world.js';
import { root, startServerApart, stateFolder } from '../server-apart.js';

/** A control plane here, and two sites, each with one host that is a machine of its own beside this one. */
export interface TwoMachines {
  readonly client: Client;
  readonly sites: readonly [DemoSite, DemoSite];
  machineOf(site: string): SeparateMachine;
  logs(): string;
  destroy(): Promise<void>;
}

/** Needs root. */
export async function startTwoMachines(signal: AbortSignal): Promise<TwoMachines> {
  const state = stateFolder('v8w-');
  const pair = [sites[0], sites[1]] as const;
  const wires = new SeparateMachines();
  const machines = new Map<string, SeparateMachine>();
  let server: LongProcess | undefined;
  const destroy = async (): Promise<void> => {
    await wires.destroy();
    await server?.stop(30);
    rmSync(state, { recursive: true, force: true, maxRetries: 5 });
  };
  try {
    const apart = await startServerApart(state, wires.address, signal);
    server = apart.server;
    const { client } = apart;
    await describeSites(client, pair);
    for (const { name, host } of pair) {
      const machine = await wires.add();
      machines.set(name, machine);
      const enrolment = await client.enrol(host);
      const tokenFile = join(state, `${host}.enrolment`);
      writeFileSync(tokenFile, enrolment.token, { mode: 0o600 });
      const log = openSync(join(state, 'logs', `${host}.log`), 'a', 0o600);
      const [command = '', ...words] = machine.within;
      const agent = [join(root, 'packages/agent/dist/main.js'), 'run', '--server', enrolment.url, '--token-file', tokenFile];
      const options = ['--ca-sha256', enrolment.caSha256, '--state', join(state, host), '--network', 'bridge'];
      // It ends with its machine.
      spawn(command, [...words, process.execPath, ...agent, ...options], {
        stdio: ['ignore', log, log],
        env: { ...process.env, VIRT8RA_AGENT_RUNTIME: join(state, `${host}-run`) },
      });
      closeSync(log);
    }
    await sitesAreReady(client, { signal }, pair);
    return {
      client,
      sites: pair,
      machineOf: (site) => {
        const machine = machines.get(site);
        if (machine === undefined) throw new Error(`there is no machine at ${site}`);
        return machine;
      },
      logs: () =>
        [
          ...['server', ...pair.map(({ host }) => host)].map((name) => join(state, 'logs', `${name}.log`)),
          ...pair.flatMap(({ host }) =>
            readdirSync(join(state, host, 'instances')).map((key) => join(state, host, 'instances', key, 'guest', 'serial.log')),
          ),
        ]
          .map((file) => `--- ${file}\n${readFileSync(file, 'utf8')}`)
          .join('\n'),
      destroy,
    };
  } catch (error) {
    await destroy();
    throw error;
  }
}
