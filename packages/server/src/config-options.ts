/** Every option once: flag, variable, help and documentation are derived from this table. */

export type RawConfig = string | number | boolean | readonly string[];

export interface ConfigOption {
  /** Place in the configuration file, dots between the names. */
  readonly path: OptionPath;
  readonly type: 'text' | 'number' | 'list' | 'switch';
  /** Undefined: `fallback` says what happens. */
  readonly default?: RawConfig;
  readonly fallback?: string;
  readonly words?: readonly string[];
  readonly least?: number;
  readonly most?: number;
  readonly meaning: string;
  /** Without the two dashes. */
  readonly flag: string;
  readonly variable: string;
}

type OptionRow = Omit<ConfigOption, 'path' | 'flag' | 'variable'>;

const rows = {
  state: {
    type: 'text',
    fallback: 'as root /var/lib/virt8ra, else $XDG_STATE_HOME/virt8ra (~/.local/state/virt8ra)',
    meaning: 'Directory of the database, the keys and the artifacts. Back it up; never put it on a temporary file system.',
  },
  region: { type: 'text', default: 'virt8ra', meaning: 'Name of the region this control plane runs.' },
  instanceSkus: {
    type: 'text',
    fallback: 'only the catalogue of this release',
    meaning: 'JSON file with instance SKUs of the operator’s own, such as sizes with GPUs; see docs/operating/hardware.md.',
  },
  tenants: { type: 'list', default: ['default'], meaning: 'Tenants that exist.' },
  'identity.file': {
    type: 'text',
    fallback: 'the local issuer alone',
    meaning: 'JSON file with the OIDC issuers whose tokens are taken, and the subjects there are.',
  },
  'api.listen': {
    type: 'text',
    default: '127.0.0.1:8480',
    meaning: 'Address and port of the API. An address that others can reach needs api.tls. Port 0 takes any free one.',
  },
  'api.publicUrl': {
    type: 'text',
    fallback: 'as the client reached it',
    meaning: 'URL of the API as clients see it, where a proxy stands before it.',
  },
  'api.profile': {
    type: 'text',
    default: 'standard',
    words: ['standard', 'conformance'],
    meaning: 'How the API answers: as SECA’s specification says, or, for runs of its conformance suite only, as that expects.',
  },
  'api.tls.certificate': { type: 'text', fallback: 'plain HTTP', meaning: 'PEM file with the certificate chain of the API.' },
  'api.tls.key': { type: 'text', fallback: 'plain HTTP', meaning: 'PEM file with the key of that certificate.' },
  'agents.listen': {
    type: 'text',
    default: '127.0.0.1:8481',
    meaning: 'Address and port where agents dial in, always with mutual TLS under the control plane’s own CA.',
  },
  'agents.publicUrl': {
    type: 'text',
    fallback: 'https:// and agents.listen',
    meaning: 'https URL of that listener as agents on other hosts see it.',
  },
  'agents.replicaUrl': {
    type: 'text',
    fallback: 'agents.publicUrl',
    meaning:
      'https URL of this very server’s listener as agents see it. Where several servers share agents.publicUrl, each needs its own: consoles and port forwarding dial it.',
  },
  'access.listen': { type: 'text', default: '127.0.0.1', meaning: 'Address where access endpoints of instances stand.' },
  'access.publicHost': {
    type: 'text',
    fallback: 'access.listen',
    meaning: 'Host name or address of access endpoints as users are told it.',
  },
  'access.ports': { type: 'text', default: '20000-20999', meaning: 'Ports that access endpoints take, FIRST-LAST.' },
  'log.level': {
    type: 'text',
    default: 'info',
    words: ['debug', 'info', 'warn', 'error'],
    meaning: 'Least level that is logged (to standard error, JSON lines).',
  },
  'database.url': {
    type: 'text',
    fallback: 'DATABASE_URL, else an own PostgreSQL in the state directory',
    meaning: 'postgres:// URL of a PostgreSQL 15 or newer. Better given as a variable than as a flag: it holds a password.',
  },
  'database.connections': {
    type: 'number',
    default: 20,
    least: 4,
    most: 1000,
    meaning: 'Most connections this server opens to the database.',
  },
  'database.user': {
    type: 'text',
    default: 'virt8ra',
    meaning: 'System account the own PostgreSQL runs as when the server runs as root; created when missing.',
  },
  'database.binaries': {
    type: 'text',
    default: 'auto',
    words: ['auto', 'debian', 'embedded'],
    meaning: 'Which PostgreSQL makes a new own database: auto takes Debian’s newest, else that of the npm package.',
  },
  'artifacts.directory': {
    type: 'text',
    fallback: 'STATE/artifacts',
    meaning: 'Directory of images and backups, by content. Replicas on several hosts share it.',
  },
  'artifacts.maxImageGB': {
    type: 'number',
    default: 100,
    least: 1,
    meaning: 'Largest file of an image or of a disk in a backup, in GB (10^9 bytes).',
  },
  'artifacts.maxVirtualGB': {
    type: 'number',
    default: 2000,
    least: 1,
    meaning: 'Largest disk that an image or a backup may describe, in GB (10^9 bytes).',
  },
  'audit.keepDays': {
    type: 'number',
    default: 400,
    least: 1,
    meaning: 'Days that rows of the audit are kept; what goes is cut off under signature, so that the rest can be verified as before.',
  },
  'controlPlaneBackup.directory': {
    type: 'text',
    fallback: 'none is made on a schedule',
    meaning: 'Directory of control plane backups, best on another disk. See docs/operating/backup.md.',
  },
  'controlPlaneBackup.everyHours': {
    type: 'number',
    default: 24,
    least: 1,
    most: 720,
    meaning: 'Hours between two control plane backups.',
  },
  'controlPlaneBackup.keep': {
    type: 'number',
    default: 7,
    least: 1,
    most: 10_000,
    meaning: 'Newest control plane backups that always stay.',
  },
  'controlPlaneBackup.keepDays': {
    type: 'number',
    default: 0,
    least: 0,
    most: 3650,
    meaning: 'Days that those beyond controlPlaneBackup.keep stay as well.',
  },
  'controlPlaneBackup.passphraseFile': {
    type: 'text',
    fallback: 'they are not encrypted',
    meaning: 'File whose first line is the passphrase that control plane backups are encrypted by. Keep it elsewhere too.',
  },
  'paths.probes': {
    type: 'switch',
    default: true,
    meaning:
      'Has hosts with tunnels between them, and one host of each two sites, measure their path: at most a second and 16 MiB, once in six hours, never beside a transfer.',
  },
  'imports.allowPrivate': {
    type: 'switch',
    default: false,
    meaning: 'Lets image imports fetch from private and loopback addresses. Link-local ones stay closed: cloud metadata lives there.',
  },
  'imports.allow': { type: 'list', default: [], meaning: 'Address ranges (CIDR) that image imports may fetch from whatever they are.' },
  'webhooks.allow': {
    type: 'list',
    default: [],
    meaning: 'Address ranges (CIDR) that webhooks may deliver to whatever they are, such as those of receivers of your own.',
  },
  'webhooks.allowHttp': {
    type: 'switch',
    default: false,
    meaning: 'Lets webhooks deliver by plain http, which everybody on the way can read.',
  },
  'outbound.proxy': {
    type: 'text',
    fallback: 'HTTPS_PROXY and HTTP_PROXY of the environment, else none',
    meaning:
      'http://[USER:PASSWORD@]HOST:PORT of the proxy that all outbound requests go through, by CONNECT; none: no proxy whatever the environment says.',
  },
  'outbound.noProxy': {
    type: 'list',
    default: [],
    meaning: 'Hosts that are reached without the proxy: names with all below them, addresses, ranges. None: NO_PROXY of the environment.',
  },
  'outbound.proxyResolves': {
    type: 'switch',
    default: false,
    meaning:
      'Gives the proxy the names in URLs of tenants, where this machine cannot resolve them. The proxy’s own rules must then close private addresses.',
  },
  'outbound.caFile': {
    type: 'text',
    fallback: 'what Node trusts',
    meaning:
      'PEM file of CA certificates that outbound requests trust as well, such as that of an issuer, or of a proxy that looks inside.',
  },
} as const satisfies Record<string, OptionRow>;

export type OptionPath = keyof typeof rows;

/** `api.publicUrl` → `api-public-url`. */
function flagOf(path: string): string {
  return path
    .replaceAll('.', '-')
    .replaceAll(/([a-z])([A-Z])/g, '$1-$2')
    .toLowerCase();
}

export const configOptions: readonly ConfigOption[] = (Object.entries(rows) as [OptionPath, OptionRow][]).map(([path, row]) => ({
  ...row,
  path,
  flag: flagOf(path),
  variable: `VIRT8RA_${flagOf(path).replaceAll('-', '_').toUpperCase()}`,
}));

function defaultText(option: ConfigOption): string {
  if (option.default === undefined) return option.fallback ?? '';
  if (typeof option.default === 'object') return option.default.join(',') || 'none';
  return String(option.default);
}

export const helpText = `virt8ra-server: the control plane

  virt8ra-server [OPTIONS]                 runs until SIGINT or SIGTERM; a second signal ends it at once
  virt8ra-server token create --subject NAME [--tenants a,b|all] [--operator]
                              [--roles a,b|none] [--workspaces a,b] [--days N] [OPTIONS]
                                           prints a token of the local issuer
  virt8ra-server audit verify [-o json] [--head POSITION:HASH] [OPTIONS]
                                           verifies the audit on the database itself; ends with 1 when something does not hold
  virt8ra-server backup [--to DIRECTORY] [OPTIONS]
                                           makes a control plane backup, of a running server too
  virt8ra-server backup verify FILE [OPTIONS]
                                           restores a control plane backup aside and compares it; ends with 1 when something does not hold
  virt8ra-server restore FILE [OPTIONS]    makes the control plane anew from a control plane backup, on an empty state directory
  virt8ra-server doctor [-o json] [OPTIONS]
                                           looks at this machine for the server, and changes nothing; ends with 1 when something fails

Options go before environment variables, those before the file.
  --config FILE                            JSON file; the names below are its members, dots nest
  --print-config                           prints what would be used, without passwords, and ends
  --print-openapi                          prints the description of the API, as it is served at /openapi.json, and ends
  --help, --version

${configOptions
  .map(
    (option) =>
      `  --${`${option.flag}${option.type === 'switch' ? '' : ' VALUE'}`.padEnd(39)}${option.meaning}\n${' '.repeat(43)}${option.path}, ${option.variable}; default: ${defaultText(option)}`,
  )
  .join('\n')}
`;

/** The same table for docs/operating/configuration.md. */
export function configurationTable(): string {
  const lines = configOptions.map(
    (option) => `| \`${option.path}\` | \`--${option.flag}\` | \`${option.variable}\` | ${defaultText(option)} | ${option.meaning} |`,
  );
  return ['| file | flag | variable | default | meaning |', '|---|---|---|---|---|', ...lines].join('\n');
}
