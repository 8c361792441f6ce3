import { spawn } from 'node:child_process';
import { access, open, readdir } from 'node:fs/promises';
import { Problem } from '@virt8ra/contract';
import { readText } from '../disk/atomic-file.js';
import { addNamespace, deleteNamespace } from '../network/namespaces.js';
import { awaitExit, readProcessIdentity, signalProcess } from '../system/process-identity.js';
import { runCommand } from '../system/run-command.js';
import type { TunnelBackend } from './tunnel-backend.js';

/** A peer as the device has it. */
export interface ConfiguredPeer {
  readonly publicKey: string;
  /** Undefined: nobody knows where it is yet. */
  readonly endpoint: string | undefined;
  readonly allowedIps: readonly string[];
  /** Seconds since 1970; 0: never. */
  readonly handshakeAt: number;
}

export interface DeviceState {
  readonly publicKey: string;
  readonly port: number;
  readonly peers: readonly ConfiguredPeer[];
}

const startMs = 10_000;

/**
 * One WireGuard device, in the kernel or as a process of its own that outlives this agent. Its encrypted side is in the agent's network
 * namespace, its plain side alone in one of its own: nothing else of the host listens there, and nothing there has another way out.
 */
export class TunnelDevice {
  readonly name: string;
  /** Of the plain side, as `ip netns` knows it. */
  readonly namespace: string;
  readonly #mode: TunnelBackend['mode'];
  readonly #logPath: string;
  readonly #onEnded: () => void;

  /** `onEnded` hears when a process that this agent started ends; one that an earlier agent started is noticed at the next look. */
  constructor(
    names: { readonly device: string; readonly namespace: string },
    mode: TunnelBackend['mode'],
    logPath: string,
    onEnded: () => void,
  ) {
    this.name = names.device;
    this.namespace = names.namespace;
    this.#mode = mode;
    this.#logPath = logPath;
    this.#onEnded = onEnded;
  }

  /** What the device is now; undefined when there is none. */
  async look(): Promise<DeviceState | undefined> {
    try {
      return parseDump(await this.inside('wg', ['show', this.name, 'dump']));
    } catch {
      return undefined;
    }
  }

  /** Makes the device where it is missing and gives it key, port, address and MTU. Answers its state. May be repeated. */
  async ensure(wanted: {
    readonly privateKeyPath: string;
    readonly publicKey: string;
    readonly port: number;
    readonly address: string;
    readonly mtu: number;
  }): Promise<DeviceState> {
    const { name, namespace } = this;
    if (!(await this.#isInside())) {
      // What is left of a process that died, or of an agent that was killed here, is in the way; so is a name without its namespace.
      await this.#endProcess();
      await runCommand('ip', ['link', 'delete', 'dev', name]).catch(() => {});
      if ((await exists(`/run/netns/${namespace}`)) && !(await this.#isNamespace())) await deleteNamespace(namespace);
      if (!(await exists(`/run/netns/${namespace}`))) await addNamespace(namespace);
      if (this.#mode === 'kernel') await runCommand('ip', ['link', 'add', name, 'type', 'wireguard']);
      else await this.#startProcess();
      await runCommand('ip', ['link', 'set', 'dev', name, 'netns', namespace]);
    }
    const state = await this.look();
    if (state === undefined) throw new Problem('unavailable', `the tunnel device ${name} does not answer`);
    if (state.publicKey !== wanted.publicKey || state.port !== wanted.port) {
      await this.inside('wg', ['set', name, 'private-key', wanted.privateKeyPath, 'listen-port', String(wanted.port)]);
    }
    await this.ip('link', 'set', 'dev', name, 'mtu', String(wanted.mtu), 'up');
    await this.ip('-6', 'address', 'replace', `${wanted.address}/128`, 'dev', name, 'nodad');
    for (const other of await this.#addresses()) {
      if (other !== wanted.address) await this.ip('-6', 'address', 'delete', `${other}/128`, 'dev', name);
    }
    return state;
  }

  /** Runs a command on the plain side. */
  async inside(command: string, args: readonly string[], input?: string): Promise<string> {
    const options = { timeoutMs: 20_000, ...(input === undefined ? {} : { input }) };
    return await runCommand('nsenter', [`--net=/run/netns/${this.namespace}`, command, ...args], options);
  }

  async ip(...args: string[]): Promise<string> {
    return await runCommand('ip', ['-n', this.namespace, ...args]);
  }

  /** Takes the device away; its process ends with it. May be repeated. */
  async remove(): Promise<void> {
    if (!(await exists(`/run/netns/${this.namespace}`))) return;
    await this.ip('link', 'delete', 'dev', this.name).catch(() => {});
    // One that an agent was killed over before it had moved it there.
    await this.#endProcess();
    await runCommand('ip', ['link', 'delete', 'dev', this.name]).catch(() => {});
    await deleteNamespace(this.namespace);
  }

  /** The way to a peer's address, with the MTU that this way lets through. */
  async route(address: string, mtu: number): Promise<void> {
    await this.ip('-6', 'route', 'replace', `${address}/128`, 'dev', this.name, 'mtu', String(mtu));
  }

  /** Addresses that have a way through the device, with its MTU. */
  async routes(): Promise<Map<string, number | undefined>> {
    const text = await this.ip('-6', '-j', 'route', 'show', 'dev', this.name);
    const routes = JSON.parse(text === '' ? '[]' : text) as { dst: string; metrics?: { mtu?: number }[] }[];
    return new Map(routes.map(({ dst, metrics }) => [dst, metrics?.find(({ mtu }) => mtu !== undefined)?.mtu]));
  }

  async unroute(address: string): Promise<void> {
    await this.ip('-6', 'route', 'delete', `${address}/128`, 'dev', this.name).catch(() => {});
  }

  /** Changes one peer: `changes` are the words of `wg set … peer KEY`. */
  async setPeer(publicKey: string, changes: readonly string[]): Promise<void> {
    await this.inside('wg', ['set', this.name, 'peer', publicKey, ...changes]);
  }

  async #isNamespace(): Promise<boolean> {
    return await this.ip('link', 'show', 'dev', 'lo').then(
      () => true,
      () => false,
    );
  }

  /** Ends the process of this device, whoever started it. Its name says that it is ours: it follows from this agent's own. */
  async #endProcess(): Promise<void> {
    for (const entry of await readdir('/proc')) {
      const pid = Number(entry);
      if (!Number.isSafeInteger(pid)) continue;
      const words = (await readText(`/proc/${pid}/cmdline`).catch(() => undefined))?.split('\0');
      if (words?.[0] !== 'wireguard-go' || words[2] !== this.name) continue;
      const identity = await readProcessIdentity(pid);
      if (identity === undefined) continue;
      await signalProcess(identity, 'SIGKILL');
      await awaitExit(identity, 5_000);
    }
  }

  async #isInside(): Promise<boolean> {
    return await this.ip('link', 'show', 'dev', this.name).then(
      () => true,
      () => false,
    );
  }

  async #startProcess(): Promise<void> {
    const log = await open(this.#logPath, 'w', 0o600);
    const child = spawn('wireguard-go', ['-f', this.name], {
      detached: true,
      stdio: ['ignore', log.fd, log.fd],
      cwd: '/',
      env: { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', LOG_LEVEL: 'error' },
    });
    let ended: string | undefined;
    child.once('error', (error) => {
      ended = error.message;
    });
    child.once('exit', (status, signal) => {
      ended = `it ended with ${signal ?? `status ${status}`}`;
      this.#onEnded();
    });
    child.unref();
    await log.close();
    const end = performance.now() + startMs;
    for (;;) {
      if ((await this.look()) !== undefined) return;
      if (ended !== undefined) throw new Problem('unavailable', `wireguard-go did not start: ${ended}`);
      if (performance.now() > end) throw new Problem('unavailable', `wireguard-go did not start within ${startMs / 1000} s`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  async #addresses(): Promise<string[]> {
    const text = await this.ip('-6', '-j', 'address', 'show', 'dev', this.name, 'scope', 'global');
    const [found] = JSON.parse(text) as { addr_info?: { local?: string }[] }[];
    return (found?.addr_info ?? []).flatMap(({ local }) => (local === undefined ? [] : [local]));
  }
}

async function exists(path: string): Promise<boolean> {
  return await access(path).then(
    () => true,
    () => false,
  );
}

/** Reads `wg show DEVICE dump`. The private key in its first column is left where it is. */
export function parseDump(text: string): DeviceState {
  const [own = '', ...peers] = text.trimEnd().split('\n');
  const [, publicKey = '', port = ''] = own.split('\t');
  return {
    publicKey: publicKey === '(none)' ? '' : publicKey,
    port: Number(port),
    peers: peers.map((line) => {
      const [key = '', , endpoint = '', allowed = '', handshake = ''] = line.split('\t');
      return {
        publicKey: key,
        endpoint: endpoint === '(none)' ? undefined : endpoint,
        allowedIps: allowed === '(none)' || allowed === '' ? [] : allowed.split(','),
        handshakeAt: Number(handshake),
      };
    }),
  };
}
