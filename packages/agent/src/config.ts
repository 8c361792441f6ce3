import { createHash } from 'node:crypto';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { Problem } from '@virt8ra/contract/plain';
import { type Proxies, proxiesFrom } from '@virt8ra/outbound';
import { cpusFromList } from './hardware/cpu-list.js';
import { type LogLevel, logLevels } from './log.js';
import { type Allowance, parseAllowances } from './pci/allowance.js';

/** Everything an agent may be told from outside; nothing else reads the environment. */
export interface AgentConfig {
  /** Identity, ledger, permits, disks. */
  readonly stateDirectory: string;
  /** Sockets and pid files of this boot. Short, because socket paths end at 107 bytes. */
  readonly runtimeDirectory: string;
  readonly root: boolean;
  /** Which release the launcher started this process as; undefined: it was not started by the launcher, and cannot be updated by command. */
  readonly release?: string;
  /** Present when this start should enrol first if there is no certificate yet. */
  readonly enrol?: EnrolConfig;
  /** How the control plane is reached; `chosen`: it was said so to this agent, not to all programs of the host. */
  readonly proxies: { readonly chosen: boolean; readonly ways: Proxies };
  /** Address where receivers of transfers listen and exposed ports appear; undefined: the one used to reach the server. */
  readonly dataAddress?: string;
  /** Ports that receivers and exposed ports may take; undefined: any free one. */
  readonly dataPorts?: { readonly first: number; readonly last: number };
  readonly network: 'auto' | 'bridge' | 'user';
  readonly overlay: OverlayConfig;
  /** `off`: the control plane cannot have another release run here. */
  readonly updates: 'command' | 'off';
  readonly reserveMemoryMiB: number;
  readonly reserveStorageBytes: number;
  readonly storage: StorageConfig;
  /** Virtual CPUs offered for each hardware thread. */
  readonly vcpuPerThread: number;
  /** Hardware threads, by number, for guests that have theirs for themselves; nothing else of ours runs there. */
  readonly dedicatedCpus: readonly number[];
  /** PCI devices that guests may have for themselves. */
  readonly pciDevices: readonly Allowance[];
  /** A device that a guest gives back keeps the driver for guests, or gets back the driver it had. */
  readonly pciRelease: 'keep' | 'driver';
  /** Seconds a guest has to shut down by itself before it is switched off. */
  readonly shutdownSeconds: number;
  /** Seconds before a permit's expiry at which its guest is stopped. */
  readonly permitMarginSeconds: number;
  readonly logLevel: LogLevel;
  /** Where the log goes; undefined: standard error. */
  readonly logFile?: string;
}

/** Where volumes are: files in the state directory, or logical volumes in a thin pool of LVM. */
export type StorageConfig = { readonly type: 'directory' } | { readonly type: 'thin-pool'; readonly group: string; readonly pool: string };

/** Tunnels to the other machines that have a network of this host. */
export interface OverlayConfig {
  /** `auto`: WireGuard in the kernel, else wireguard-go. */
  readonly mode: 'auto' | 'userspace' | 'off';
  /** UDP port that peers must reach on one of two hosts. */
  readonly port: number;
  /** `address:port` at which peers reach it, where NAT lies between; empty: found out. */
  readonly endpoints: readonly string[];
  readonly keyDays: number;
}

export interface EnrolConfig {
  readonly server: URL;
  readonly token: string;
  /** SHA-256 of the control plane's CA certificate (DER), 64 hex digits. */
  readonly caSha256: string;
}

/** What the command line gave, before checks. */
export interface ConfigInput {
  readonly state?: string | undefined;
  readonly server?: string | undefined;
  readonly token?: string | undefined;
  readonly 'token-file'?: string | undefined;
  readonly 'ca-sha256'?: string | undefined;
  readonly proxy?: string | undefined;
  readonly 'no-proxy'?: string | undefined;
  readonly 'data-address'?: string | undefined;
  readonly 'data-ports'?: string | undefined;
  readonly network?: string | undefined;
  readonly overlay?: string | undefined;
  readonly updates?: string | undefined;
  readonly 'overlay-port'?: string | undefined;
  readonly 'overlay-endpoint'?: string | undefined;
  readonly 'overlay-key-days'?: string | undefined;
  readonly 'reserve-memory-mib'?: string | undefined;
  readonly 'reserve-storage-gib'?: string | undefined;
  readonly storage?: string | undefined;
  readonly 'vcpu-per-thread'?: string | undefined;
  readonly 'dedicated-cpus'?: string | undefined;
  readonly 'pci-devices'?: string | undefined;
  readonly 'pci-release'?: string | undefined;
  readonly 'shutdown-seconds'?: string | undefined;
  readonly 'log-level'?: string | undefined;
  readonly 'log-file'?: string | undefined;
}

type Environment = Readonly<Record<string, string | undefined>>;

/**
 * The configuration of a start: options first, then `VIRT8RA_AGENT_*` variables, then defaults. `readTokenFile` is asked only when the
 * token is given as a file. Raises Problem validation that names the option.
 */
export function parseConfig(
  input: ConfigInput,
  environment: Environment,
  readTokenFile: (path: string) => string,
  uid: number,
): AgentConfig {
  const root = uid === 0;
  const given = (option: keyof ConfigInput) => input[option] ?? environment[`VIRT8RA_AGENT_${option.replaceAll('-', '_').toUpperCase()}`];
  const stateDirectory = resolve(given('state') ?? defaultState(root, environment));
  const enrol = parseEnrol(given('server'), given('token'), given('token-file'), given('ca-sha256'), readTokenFile);
  const dataAddress = given('data-address');
  const ports = given('data-ports');
  const logFile = given('log-file');
  const release = environment['VIRT8RA_AGENT_RELEASE'];
  return {
    stateDirectory,
    runtimeDirectory: environment['VIRT8RA_AGENT_RUNTIME'] ?? defaultRuntime(root, stateDirectory, uid, environment),
    root,
    ...(release === undefined || release === '' ? {} : { release }),
    ...(enrol === undefined ? {} : { enrol }),
    proxies: {
      chosen: (given('proxy') ?? '') !== '',
      ways: proxiesFrom({ proxy: given('proxy'), noProxy: given('no-proxy') }, environment),
    },
    ...(dataAddress === undefined ? {} : { dataAddress }),
    ...(ports === undefined ? {} : { dataPorts: parsePorts(ports) }),
    network: oneOf('network', given('network') ?? 'auto', ['auto', 'bridge', 'user'] as const),
    overlay: {
      mode: oneOf('overlay', given('overlay') ?? 'auto', ['auto', 'userspace', 'off'] as const),
      port: port('overlay-port', given('overlay-port') ?? '8482'),
      endpoints: parseEndpoints(given('overlay-endpoint')),
      keyDays: whole('overlay-key-days', given('overlay-key-days'), 30, 1),
    },
    updates: oneOf('updates', given('updates') ?? 'command', ['command', 'off'] as const),
    reserveMemoryMiB: whole('reserve-memory-mib', given('reserve-memory-mib'), 512),
    reserveStorageBytes: whole('reserve-storage-gib', given('reserve-storage-gib'), 2) * 1024 ** 3,
    storage: parseStorage(given('storage') ?? 'directory', root),
    vcpuPerThread: whole('vcpu-per-thread', given('vcpu-per-thread'), 4, 1),
    dedicatedCpus: parseDedicated(given('dedicated-cpus')),
    pciDevices: parseAllowances(given('pci-devices')),
    pciRelease: oneOf('pci-release', given('pci-release') ?? 'keep', ['keep', 'driver'] as const),
    shutdownSeconds: whole('shutdown-seconds', given('shutdown-seconds'), 30),
    permitMarginSeconds: 5,
    logLevel: oneOf('log-level', given('log-level') ?? 'info', logLevels),
    ...(logFile === undefined ? {} : { logFile: resolve(logFile) }),
  };
}

function defaultState(root: boolean, environment: Environment): string {
  if (root) return '/var/lib/virt8ra-agent';
  return join(environment['XDG_STATE_HOME'] ?? join(homedir(), '.local', 'state'), 'virt8ra-agent');
}

function defaultRuntime(root: boolean, stateDirectory: string, uid: number, environment: Environment): string {
  const own = createHash('sha256').update(stateDirectory).digest('hex').slice(0, 10);
  if (root) return `/run/virt8ra/agents/${own}`;
  return join(environment['XDG_RUNTIME_DIR'] ?? `/tmp/virt8ra-${uid}`, `virt8ra-${own}`);
}

function parseEnrol(
  server: string | undefined,
  token: string | undefined,
  tokenFile: string | undefined,
  caSha256: string | undefined,
  readTokenFile: (path: string) => string,
): EnrolConfig | undefined {
  if (server === undefined && token === undefined && tokenFile === undefined && caSha256 === undefined) return undefined;
  if (server === undefined) throw missing('server', 'the address of the agents’ listener, such as https://control.example:8481');
  const secret = token ?? (tokenFile === undefined ? undefined : readTokenFile(tokenFile).trim());
  if (secret === undefined || secret === '') throw missing('token', 'the single-use token that `virt8ra enrol` printed');
  if (caSha256 === undefined) throw missing('ca-sha256', 'the fingerprint that `virt8ra enrol` printed');
  let url: URL;
  try {
    url = new URL(server);
  } catch {
    throw new Problem('validation', `--server is not a URL: ${server}. Write it like https://control.example:8481.`);
  }
  if (url.protocol !== 'https:') throw new Problem('validation', `--server must begin with https://, not ${url.protocol}//`);
  const fingerprint = caSha256.replaceAll(':', '').toLowerCase();
  if (!/^[0-9a-f]{64}$/.test(fingerprint))
    throw new Problem('validation', '--ca-sha256 must be 64 hexadecimal digits (SHA-256 of the CA certificate)');
  return { server: url, token: secret, caSha256: fingerprint };
}

function missing(option: string, meaning: string): Problem {
  return new Problem('validation', `--${option} is missing: ${meaning}. \`virt8ra enrol\` prints the whole command.`);
}

const lvmName = /^[A-Za-z0-9_+.][A-Za-z0-9_+.-]{0,126}$/;

function parseStorage(text: string, root: boolean): StorageConfig {
  if (text === 'directory') return { type: 'directory' };
  const [, group = '', pool = ''] = /^thin-pool:([^/]+)\/([^/]+)$/.exec(text) ?? [];
  if (!lvmName.test(group) || !lvmName.test(pool))
    throw new Problem('validation', `--storage must be directory, or thin-pool:GROUP/POOL such as thin-pool:vg0/guests, not ${text}`);
  if (!root) throw new Problem('validation', `--storage ${text} needs root: nobody else may make logical volumes`);
  return { type: 'thin-pool', group, pool };
}

function parsePorts(text: string): { first: number; last: number } {
  const match = /^(\d{1,5})-(\d{1,5})$/.exec(text);
  const first = Number(match?.[1]);
  const last = Number(match?.[2]);
  if (match === null || first < 1 || last > 65535 || first > last) {
    throw new Problem('validation', `--data-ports must be a range such as 49152-49251, not ${text}`);
  }
  return { first, last };
}

function port(option: string, text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1 || value > 65535) throw new Problem('validation', `--${option} must be a port, not ${text}`);
  return value;
}

function parseEndpoints(text: string | undefined): string[] {
  if (text === undefined || text.trim() === '') return [];
  return text.split(',').map((part) => {
    const endpoint = part.trim();
    const match = /^(\[[0-9a-f:]+\]|[A-Za-z0-9.-]+):(\d{1,5})$/i.exec(endpoint);
    if (match === null)
      throw new Problem(
        'validation',
        `--overlay-endpoint must be ADDRESS:PORT, such as 203.0.113.7:8482 or [2001:db8::7]:8482, not ${endpoint}`,
      );
    port('overlay-endpoint', match[2] ?? '');
    return endpoint.toLowerCase();
  });
}

function parseDedicated(text: string | undefined): readonly number[] {
  if (text === undefined || text.trim() === '') return [];
  const cpus = cpusFromList(text);
  if (cpus === undefined)
    throw new Problem('validation', `--dedicated-cpus is a list of hardware threads such as 2-7,10, not ${text}; \`lscpu -e\` shows them`);
  return cpus;
}

function whole(option: string, text: string | undefined, fallback: number, least = 0): number {
  if (text === undefined) return fallback;
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < least)
    throw new Problem('validation', `--${option} must be a whole number of at least ${least}, not ${text}`);
  return value;
}

function oneOf<Word extends string>(option: string, text: string, words: readonly Word[]): Word {
  const found = words.find((word) => word === text);
  if (found === undefined) throw new Problem('validation', `--${option} must be one of ${words.join(', ')}, not ${text}`);
  return found;
}
