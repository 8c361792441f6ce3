import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { Problem, toProblem } from '@virt8ra/contract';
import { type Proxies, proxiesFrom } from '@virt8ra/outbound';
import { type ConfigOption, configOptions, type OptionPath, type RawConfig } from './config-options.js';
import type { ApiProfile } from './http/profile.js';

/** Where a listener stands. Port 0: the system chooses. */
export interface ListenAddress {
  readonly host: string;
  readonly port: number;
}

export const logLevels = ['debug', 'info', 'warn', 'error'] as const;
export type LogLevel = (typeof logLevels)[number];

/** Everything the server may be told from outside; nothing else reads the environment. */
export interface Config {
  /** Database, keys, artifacts. */
  readonly stateDirectory: string;
  /** $XDG_RUNTIME_DIR: for sockets whose path in the state directory would be too long. */
  readonly runtimeDirectory: string | undefined;
  readonly region: string;
  readonly tenants: readonly string[];
  /** JSON, of issuers and subjects. */
  readonly identity: { readonly file: string | undefined };
  /** File with instance SKUs of the operator's own. */
  readonly instanceSkus: string | undefined;
  readonly api: {
    readonly listen: ListenAddress;
    /** PEM files. */
    readonly tls: { readonly certificate: string; readonly key: string } | undefined;
    /** Begins every URL that the API answers with; undefined: as the client reached it. */
    readonly publicUrl: string | undefined;
    readonly profile: ApiProfile;
  };
  readonly agents: {
    readonly listen: ListenAddress;
    /** Where agents reach the listener; undefined: the listen address itself. */
    readonly publicUrl: string | undefined;
    /** Where they reach this very server; undefined: the same. */
    readonly replicaUrl: string | undefined;
  };
  readonly access: {
    readonly listen: string;
    readonly publicHost: string | undefined;
    readonly ports: { readonly first: number; readonly last: number };
  };
  readonly audit: { readonly keepDays: number };
  readonly controlPlaneBackup: {
    /** Undefined: none is made on a schedule. */
    readonly directory: string | undefined;
    readonly everyHours: number;
    readonly keep: number;
    readonly keepDays: number;
    readonly passphraseFile: string | undefined;
  };
  /** Whether hosts are had to measure the paths between them. */
  readonly paths: { readonly probes: boolean };
  readonly log: { readonly level: LogLevel };
  readonly database: {
    /** Undefined: the server runs a PostgreSQL of its own. Holds a password. */
    readonly url: string | undefined;
    readonly connections: number;
    /** System account of the own PostgreSQL when the server runs as root. */
    readonly user: string;
    readonly binaries: 'auto' | 'debian' | 'embedded';
  };
  readonly artifacts: { readonly directory: string; readonly maxImageBytes: number; readonly maxVirtualBytes: number };
  /** The way out of this server. */
  readonly outbound: {
    readonly proxies: Proxies;
    readonly proxyResolves: boolean;
    readonly caFile: string | undefined;
    readonly extraCaFile: string | undefined;
  };
  readonly webhooks: { readonly allow: readonly string[]; readonly allowHttp: boolean };
  readonly imports: {
    /** URL imports may also go to private and loopback addresses. */
    readonly allowPrivate: boolean;
    /** CIDRs that URL imports may go to whatever they are. */
    readonly allow: readonly string[];
  };
}

export type Environment = Readonly<Record<string, string | undefined>>;

/**
 * The configuration of a start: flags first, then `VIRT8RA_*` variables, then the file, then defaults. Raises `validation` with the
 * pointer (of a file) or the name (of a flag or variable) of the first thing that is wrong.
 */
export function parseConfig(argv: readonly string[], environment: Environment, uid: number): Config {
  const flags = parseFlags(argv);
  const file = flags.get('config')?.value ?? environment['VIRT8RA_CONFIG'];
  const raw = new Map<OptionPath, { readonly value: unknown; readonly where: Where }>();
  if (file !== undefined && file !== '') for (const [path, entry] of readConfigFile(file)) raw.set(path, entry);
  for (const option of configOptions) {
    const variable = environment[option.variable];
    if (variable !== undefined && variable !== '') {
      raw.set(option.path, { value: textValue(option, variable, { parameter: option.variable }), where: { parameter: option.variable } });
    }
    const flag = flags.get(option.flag);
    if (flag !== undefined) {
      raw.set(option.path, { value: textValue(option, flag.value, { parameter: flag.name }), where: { parameter: flag.name } });
    }
  }
  return build(raw, environment, uid);
}

type Where = { readonly pointer: string } | { readonly parameter: string };
type Raw = ReadonlyMap<OptionPath, { readonly value: unknown; readonly where: Where }>;

function wrong(where: Where, message: string): Problem {
  const name = 'pointer' in where ? where.pointer : where.parameter;
  return new Problem('validation', `${name} ${message}`, { sources: [where] });
}

function parseFlags(argv: readonly string[]): ReadonlyMap<string, { readonly value: string; readonly name: string }> {
  const flags = new Map<string, { value: string; name: string }>();
  const known = new Map<string, ConfigOption['type']>([
    ['config', 'text'],
    ...configOptions.map((option) => [option.flag, option.type] as const),
  ]);
  for (let index = 0; index < argv.length; index += 1) {
    const given = argv[index] ?? '';
    const [, name, inline] = /^--([a-z0-9-]+)(?:=([\s\S]*))?$/.exec(given) ?? [];
    const type = name === undefined ? undefined : known.get(name);
    if (name === undefined || type === undefined) {
      throw new Problem('validation', `${given} is no option of virt8ra-server; see --help`, { sources: [{ parameter: given }] });
    }
    let value = inline;
    if (value === undefined && type === 'switch') value = 'true';
    if (value === undefined) {
      index += 1;
      value = argv[index];
    }
    if (value === undefined) throw wrong({ parameter: `--${name}` }, 'needs a value');
    flags.set(name, { value, name: `--${name}` });
  }
  return flags;
}

function readConfigFile(path: string): Raw {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (cause) {
    throw new Problem('validation', `the configuration file ${path} cannot be read: ${(cause as Error).message}`, { cause });
  }
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch (cause) {
    throw new Problem('validation', `the configuration file ${path} is not JSON: ${(cause as Error).message}`, { cause });
  }
  const found = new Map<OptionPath, { value: unknown; where: Where }>();
  collect(document, '', found);
  return found;
}

/** Walks the file's objects down to options; what is none is an error, so that a typing mistake is never ignored. */
function collect(value: unknown, path: string, found: Map<OptionPath, { value: unknown; where: Where }>): void {
  const option = configOptions.find((candidate) => candidate.path === path);
  const pointer = `/${path.replaceAll('.', '/')}`;
  if (option !== undefined) {
    found.set(option.path, { value: checkedValue(option, value, { pointer }), where: { pointer } });
    return;
  }
  if (path !== '' && !configOptions.some((candidate) => candidate.path.startsWith(`${path}.`))) {
    throw wrong({ pointer }, 'is no known option');
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw wrong({ pointer }, 'must be an object');
  for (const [name, member] of Object.entries(value)) collect(member, path === '' ? name : `${path}.${name}`, found);
}

function textValue(option: ConfigOption, text: string, where: Where): unknown {
  switch (option.type) {
    case 'text':
      return checkedValue(option, text, where);
    case 'list':
      return checkedValue(
        option,
        text
          .split(',')
          .map((item) => item.trim())
          .filter((item) => item !== ''),
        where,
      );
    case 'number':
      return checkedValue(option, text.trim() === '' ? Number.NaN : Number(text), where);
    case 'switch':
      if (text !== 'true' && text !== 'false') throw wrong(where, `must be true or false, not ${text}`);
      return text === 'true';
  }
}

function checkedValue(option: ConfigOption, value: unknown, where: Where): unknown {
  switch (option.type) {
    case 'text':
      if (typeof value !== 'string' || value === '') throw wrong(where, 'must be a text');
      if (option.words !== undefined && !option.words.includes(value)) throw wrong(where, `must be one of ${option.words.join(', ')}`);
      return value;
    case 'list':
      if (!Array.isArray(value) || value.some((item) => typeof item !== 'string')) throw wrong(where, 'must be a list of texts');
      return value;
    case 'number':
      if (
        !Number.isSafeInteger(value) ||
        (value as number) < (option.least ?? 0) ||
        (value as number) > (option.most ?? Number.MAX_SAFE_INTEGER)
      ) {
        throw wrong(where, `must be a whole number from ${option.least ?? 0}${option.most === undefined ? '' : ` to ${option.most}`}`);
      }
      return value;
    case 'switch':
      if (typeof value !== 'boolean') throw wrong(where, 'must be true or false');
      return value;
  }
}

function build(raw: Raw, environment: Environment, uid: number): Config {
  const where = (path: OptionPath): Where => raw.get(path)?.where ?? { parameter: path };
  const text = (path: OptionPath): string | undefined => raw.get(path)?.value as string | undefined;
  const word = (path: OptionPath): string => text(path) ?? (defaultOf(path) as string);
  const path = (option: OptionPath): string | undefined => {
    const given = text(option);
    return given === undefined ? undefined : resolve(given);
  };
  const number = (path: OptionPath): number => (raw.get(path)?.value ?? defaultOf(path)) as number;
  const list = (path: OptionPath): readonly string[] => (raw.get(path)?.value ?? defaultOf(path)) as readonly string[];

  const stateDirectory = resolve(text('state') ?? defaultState(uid, environment));
  const listen = parseListen(word('api.listen'), where('api.listen'));
  const certificate = text('api.tls.certificate');
  const key = text('api.tls.key');
  if ((certificate === undefined) !== (key === undefined)) {
    throw wrong(
      where(certificate === undefined ? 'api.tls.key' : 'api.tls.certificate'),
      'needs its other half: certificate and key go together',
    );
  }
  const tls = certificate === undefined || key === undefined ? undefined : { certificate, key };
  if (tls === undefined && !isLoopback(listen.host)) {
    throw wrong(
      where('api.listen'),
      `is ${listen.host}, which others can reach: tokens must not travel in the clear. Set api.tls.certificate and api.tls.key, or listen on 127.0.0.1 behind a TLS proxy`,
    );
  }
  const tenants = list('tenants');
  if (tenants.length === 0) throw wrong(where('tenants'), 'must name at least one tenant');
  for (const tenant of tenants) requireName(tenant, where('tenants'));
  requireName(word('region'), where('region'));
  for (const path of ['imports.allow', 'webhooks.allow'] as const) {
    const odd = list(path).find((cidr) => !/^[0-9a-fA-F.:]+(\/\d{1,3})?$/.test(cidr));
    if (odd !== undefined) throw wrong(where(path), `holds ${odd}, which is no address range`);
  }
  const accessListen = word('access.listen');
  return {
    stateDirectory,
    runtimeDirectory: environment['XDG_RUNTIME_DIR'] || undefined,
    region: word('region'),
    tenants,
    identity: { file: text('identity.file') },
    instanceSkus: text('instanceSkus'),
    api: {
      listen,
      tls,
      publicUrl: parseUrl(text('api.publicUrl'), where('api.publicUrl'), ['http:', 'https:']),
      profile: word('api.profile') as ApiProfile,
    },
    agents: {
      listen: parseListen(word('agents.listen'), where('agents.listen')),
      publicUrl: parseUrl(text('agents.publicUrl'), where('agents.publicUrl'), ['https:']),
      replicaUrl: parseUrl(text('agents.replicaUrl'), where('agents.replicaUrl'), ['https:']),
    },
    access: { listen: accessListen, publicHost: text('access.publicHost'), ports: parsePorts(word('access.ports'), where('access.ports')) },
    log: { level: word('log.level') as LogLevel },
    database: {
      // DATABASE_URL without our prefix is what platforms set.
      url: parseUrl(text('database.url') ?? (environment['DATABASE_URL'] || undefined), where('database.url'), [
        'postgres:',
        'postgresql:',
      ]),
      connections: number('database.connections'),
      user: word('database.user'),
      binaries: word('database.binaries') as Config['database']['binaries'],
    },
    artifacts: {
      directory: resolve(text('artifacts.directory') ?? join(stateDirectory, 'artifacts')),
      maxImageBytes: number('artifacts.maxImageGB') * 1e9,
      maxVirtualBytes: number('artifacts.maxVirtualGB') * 1e9,
    },
    audit: { keepDays: number('audit.keepDays') },
    controlPlaneBackup: {
      directory: path('controlPlaneBackup.directory'),
      everyHours: number('controlPlaneBackup.everyHours'),
      keep: number('controlPlaneBackup.keep'),
      keepDays: number('controlPlaneBackup.keepDays'),
      passphraseFile: path('controlPlaneBackup.passphraseFile'),
    },
    paths: { probes: (raw.get('paths.probes')?.value ?? true) as boolean },
    outbound: {
      proxies: proxiesOf(text('outbound.proxy'), list('outbound.noProxy'), where('outbound.proxy'), environment),
      proxyResolves: (raw.get('outbound.proxyResolves')?.value ?? false) as boolean,
      caFile: text('outbound.caFile'),
      extraCaFile: environment['NODE_EXTRA_CA_CERTS'] || undefined,
    },
    webhooks: { allow: list('webhooks.allow'), allowHttp: (raw.get('webhooks.allowHttp')?.value ?? false) as boolean },
    imports: {
      allowPrivate: (raw.get('imports.allowPrivate')?.value ?? false) as boolean,
      allow: list('imports.allow'),
    },
  };
}

function defaultOf(path: OptionPath): RawConfig {
  const option = configOptions.find((candidate) => candidate.path === path);
  if (option?.default === undefined) throw new Problem('internal', `option ${path} has no default`);
  return option.default;
}

function defaultState(uid: number, environment: Environment): string {
  if (uid === 0) return '/var/lib/virt8ra';
  return join(environment['XDG_STATE_HOME'] || join(environment['HOME'] || homedir(), '.local', 'state'), 'virt8ra');
}

function parseListen(text: string, where: Where): ListenAddress {
  const [, bracketed, plain, port] = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(text) ?? [];
  const host = bracketed ?? plain;
  if (host === undefined || Number(port) > 65535) throw wrong(where, `must be HOST:PORT such as 127.0.0.1:8480 or [::1]:8480, not ${text}`);
  return { host, port: Number(port) };
}

function parsePorts(text: string, where: Where): { first: number; last: number } {
  const [, first, last] = (/^(\d{1,5})-(\d{1,5})$/.exec(text) ?? []).map(Number);
  if (first === undefined || last === undefined || first < 1 || last > 65535 || first > last) {
    throw wrong(where, `must be a range such as 20000-20999, not ${text}`);
  }
  return { first, last };
}

function parseUrl(text: string | undefined, where: Where, protocols: readonly string[]): string | undefined {
  if (text === undefined) return undefined;
  const url = URL.canParse(text) ? new URL(text) : undefined;
  // The text itself stays unsaid: it may hold a password.
  if (url === undefined || !protocols.includes(url.protocol))
    throw wrong(where, `must be a URL that begins with ${protocols.map((it) => `${it}//`).join(' or ')}`);
  return protocols.includes('https:') ? text.replace(/\/+$/, '') : text;
}

function requireName(text: string, where: Where): void {
  if (text.length > 64 || !/^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/.test(text)) {
    throw wrong(where, `holds ${text}: a name has up to 64 lower-case letters, digits and dashes`);
  }
}

function proxiesOf(proxy: string | undefined, noProxy: readonly string[], where: Where, environment: Environment): Proxies {
  try {
    return proxiesFrom({ proxy, noProxy: noProxy.join(',') }, environment);
  } catch (error) {
    throw wrong(where, toProblem(error).message);
  }
}

export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127(\.\d{1,3}){3}$/.test(host);
}

/** For the log and `--print-config`: passwords are left out. */
export function printableConfig(config: Config): unknown {
  const { url } = config.database;
  const redacted = (text: string | undefined): string | undefined =>
    text === undefined ? undefined : redactUrl(text.includes('://') ? text : `http://${text}`);
  const { secure, plain, bypass } = config.outbound.proxies;
  return {
    ...config,
    database: { ...config.database, url: redacted(url) },
    outbound: { ...config.outbound, proxies: { secure: redacted(secure), plain: redacted(plain), bypass } },
  };
}

export function redactUrl(text: string): string {
  const url = new URL(text);
  if (url.password !== '') url.password = 'redacted';
  if (url.searchParams.has('password')) url.searchParams.set('password', 'redacted');
  return url.href;
}

/** A short name for a state directory, where its path is too long for what must carry it. */
export function stateDirectoryHash(stateDirectory: string): string {
  return createHash('sha256').update(stateDirectory).digest('hex').slice(0, 12);
}
