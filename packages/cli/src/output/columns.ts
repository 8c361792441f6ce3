import type { SpecOf, StatusOf } from '@virt8ra/client';
import type {
  account,
  activityLog,
  agentRelease,
  backup,
  backupExport,
  backupSchedule,
  blockStorage,
  host,
  image,
  imageImport,
  instance,
  instanceImport,
  instanceSku,
  internetGateway,
  Kind,
  migration,
  network,
  networkSku,
  nic,
  Observed,
  provider,
  publicIp,
  quota,
  Reference,
  Resource,
  region,
  role,
  roleAssignment,
  routeTable,
  securityGroup,
  securityGroupRule,
  site,
  snapshot,
  storageSku,
  subnet,
  webhook,
  workspace,
} from '@virt8ra/contract';
import { ageText, bytesText, pauseText } from './units.js';

/** One column of a kind's table. `wide` columns show with `-o wide` only. */
export interface Column {
  readonly title: string;
  readonly wide?: boolean;
  cell(resource: Resource, now: number): string;
}

type Reader<K extends Kind> = (spec: SpecOf<K>, status: Partial<StatusOf<K>>, now: number, resource: Resource) => unknown;

function column<K extends Kind>(title: string, read: Reader<K>, wide = false): Column {
  return {
    title,
    wide,
    cell: (resource, now) => cellText(read(resource.spec as SpecOf<K>, (resource.status ?? {}) as Partial<StatusOf<K>>, now, resource)),
  };
}

function cellText(value: unknown): string {
  if (value === undefined || value === null || value === '') return '-';
  if (Array.isArray(value)) return value.length === 0 ? '-' : value.join(',');
  if (typeof value === 'boolean') return value ? 'yes' : 'no';
  return String(value);
}

const name: Column = { title: 'NAME', cell: (resource) => resource.metadata.name };
const age: Column = { title: 'AGE', cell: (resource, now) => ageText(resource.metadata.createdAt, now) };
const state = column('STATE', (_spec, status: { state?: string }) => status.state);
const labels: Column = {
  title: 'LABELS',
  wide: true,
  cell: (resource) => cellText(Object.entries(resource.labels ?? {}).map(([key, value]) => `${key}=${value}`)),
};

/** Last segment of a reference: the name people know it by. */
export function referenceName(reference: Reference | undefined): string | undefined {
  const path = typeof reference === 'object' ? reference.resource : reference;
  return path?.split('/').at(-1);
}

/** A range keeps its prefix, which looks like the name of something. */
function peerText(reference: Reference): string | undefined {
  const text = typeof reference === 'object' ? reference.resource : reference;
  return /^[0-9a-fA-F:.]+(\/\d+)?$/.test(text) ? text : referenceName(reference);
}

function portsText({ ports, icmp }: SpecOf<typeof securityGroupRule>): string {
  if (icmp !== undefined) return `type ${icmp.type} code ${icmp.code}`;
  const range = ports?.from === undefined ? [] : [`${ports.from}-${ports.to}`];
  return [...range, ...(ports?.list ?? [])].join(',') || 'any';
}

/** What an instance does, as seen; an unknown state keeps its last sighting. */
export function activityText(status: Partial<StatusOf<typeof instance>>, now: number): string | undefined {
  const { activity } = status;
  if (activity === undefined) return status.powerState;
  if (activity.value !== 'unknown') return activity.value;
  const last = status.powerState === undefined ? '' : `: ${status.powerState === 'on' ? 'running' : 'stopped'}`;
  return `unknown (last seen ${ageText(activity.observedAt, now)} ago${last})`;
}

function seenText(fact: Observed<boolean> | undefined, now: number, yes: string, no: string): string {
  if (fact === undefined) return 'unknown (never seen)';
  return fact.value ? yes : `${no} (last seen ${ageText(fact.observedAt, now)} ago)`;
}

const share = (free: number | undefined, total: number | undefined) => (total === undefined ? undefined : `${free}/${total}`);
const percent = (part: number | undefined, whole: number | undefined) =>
  part === undefined || !whole ? undefined : `${Math.floor((part / whole) * 100)}%`;

const columnsOfKind: Readonly<Record<string, readonly Column[]>> = {
  webhook: [
    state,
    column<typeof webhook>('DELIVERING', ({ enabled }, { suspended, failures = 0 }) =>
      enabled === false ? 'off' : suspended !== undefined ? 'suspended' : failures > 0 ? `failing (${failures})` : 'yes',
    ),
    column<typeof webhook>('URL', (spec) => spec.url),
    column<typeof webhook>('OWNER', (_spec, status) => status.owner),
    column<typeof webhook>('LAST DELIVERED', (_spec, { lastDeliveredAt }, now) =>
      lastDeliveredAt === undefined ? 'never' : `${ageText(lastDeliveredAt, now)} ago`,
    ),
    column<typeof webhook>('WAITING', (_spec, { pending }, now) => (pending === undefined ? undefined : ageText(pending.since, now))),
  ],
  quota: [
    state,
    column<typeof quota>('WORKSPACE', (spec) => spec.workspace ?? 'all'),
    column<typeof quota>('USED/LIMIT', (spec, status) =>
      Object.entries(spec.limits).map(
        ([unit, limit]) => `${unit} ${(status.used as Record<string, number> | undefined)?.[unit] ?? '?'}/${limit}`,
      ),
    ),
  ],
  'activity-log': [
    column<typeof activityLog>('WHO', (spec) => spec.subject),
    column<typeof activityLog>('WHAT', (spec) => spec.request?.verb),
    column<typeof activityLog>('RESOURCE', (spec) => spec.request?.resource),
    column<typeof activityLog>('CODE', (spec) => spec.response?.code),
  ],
  region: [
    column<typeof region>('ZONES', (spec) => spec.availableZones),
    column<typeof region>('APIS', (spec) => spec.providers.map((each) => each.name), true),
  ],
  workspace: [state, column<typeof workspace>('RESOURCES', (_spec, status) => status.resourceCount)],
  instance: [
    state,
    column<typeof instance>('ACTIVITY', (_spec, status, now) => activityText(status, now)),
    column<typeof instance>('SITE', (_spec, status) => status.placement?.site),
    column<typeof instance>('ADDRESSES', (_spec, status) => status.addresses),
    column<typeof instance>('SKU', (spec) => referenceName(spec.skuRef)),
    column<typeof instance>(
      'VOLUMES',
      (_spec, status) =>
        status.volumes?.map((each) => `${referenceName(each.deviceRef)}${each.state === 'attached' ? '' : ` (${each.state})`}`),
      true,
    ),
    column<typeof instance>('ZONE', (spec) => spec.zone, true),
    column<typeof instance>('HOST', (_spec, status) => status.placement?.host, true),
    column<typeof instance>('ACCESS', (_spec, status) => status.access?.map((each) => `${each.port}→${each.address}`), true),
    column<typeof instance>('ACCELERATOR', (_spec, status) => status.accelerator, true),
  ],
  'instance-sku': [
    column<typeof instanceSku>('VCPU', (spec) => spec.vCPU),
    column<typeof instanceSku>('MEMORY', (spec) => `${spec.ram} GiB`),
    column<typeof instanceSku>('CPUS', (_spec, _status, _now, { extensions }) => extensions?.['virt8ra.cpu-policy'] ?? 'shared'),
    column<typeof instanceSku>('PAGES', (_spec, _status, _now, { extensions }) => extensions?.['virt8ra.huge-pages']),
  ],
  'storage-sku': [
    column<typeof storageSku>('TYPE', (spec) => spec.type),
    column<typeof storageSku>('IOPS', (spec) => spec.iops),
    column<typeof storageSku>('SMALLEST', (spec) => `${spec.minVolumeSize} GB`),
  ],
  'network-sku': [
    column<typeof networkSku>('MBIT/S', (spec) => spec.bandwidth),
    column<typeof networkSku>('PACKETS/S', (spec) => spec.packets),
  ],
  'block-storage': [
    state,
    column<typeof blockStorage>('SIZE', (spec) => `${spec.sizeGB} GB`),
    column<typeof blockStorage>(
      'USED',
      (_spec, status) => (status.allocatedBytes === undefined ? undefined : bytesText(status.allocatedBytes)),
      true,
    ),
    column<typeof blockStorage>('SITE', (_spec, status) => status.placement?.site),
    column<typeof blockStorage>('ATTACHED', (_spec, status) => referenceName(status.attachedTo)),
    column<typeof blockStorage>('SKU', (spec) => referenceName(spec.skuRef), true),
    column<typeof blockStorage>('IMAGE', (spec) => referenceName(spec.sourceImageRef), true),
  ],
  image: [
    state,
    column<typeof image>('ARCH', (spec) => spec.cpuArchitecture),
    column<typeof image>('SIZE', (_spec, status) => (status.sizeMB === undefined ? undefined : `${status.sizeMB} MB`)),
    column<typeof image>('BOOT', (spec) => spec.boot, true),
    column<typeof image>('SHA256', (_spec, status) => status.sha256, true),
  ],
  'image-import': [
    state,
    column<typeof imageImport>('PHASE', (_spec, status) => status.phase),
    column<typeof imageImport>('RECEIVED', (_spec, status) => percent(status.receivedBytes, status.totalBytes)),
    column<typeof imageImport>('ARCH', (spec) => spec.cpuArchitecture),
    column<typeof imageImport>('SOURCE', (spec) => ('url' in spec.source ? spec.source.url : 'upload'), true),
  ],
  network: [
    state,
    column<typeof network>('CIDR', (spec) => spec.cidr.ipv4 ?? spec.cidr.ipv6),
    column<typeof network>('SKU', (spec) => referenceName(spec.skuRef), true),
  ],
  subnet: [
    column<typeof subnet>('NETWORK', (_spec, _status, _now, resource) => resource.metadata.network),
    state,
    column<typeof subnet>('CIDR', (spec) => spec.cidr.ipv4 ?? spec.cidr.ipv6),
    column<typeof subnet>('ROUTE TABLE', (spec) => referenceName(spec.routeTableRef), true),
  ],
  'internet-gateway': [state, column<typeof internetGateway>('EGRESS ONLY', (spec) => spec.egressOnly === true)],
  'routing-table': [
    column<typeof routeTable>('NETWORK', (_spec, _status, _now, resource) => resource.metadata.network),
    state,
    column<typeof routeTable>('ROUTES', (spec) =>
      spec.routes.map((route) => `${route.destinationCidrBlock}→${referenceName(route.targetRef)}`),
    ),
  ],
  'security-group': [
    state,
    column<typeof securityGroup>('RULES', (spec) => (spec.rules ?? []).length + (spec.ruleRefs ?? []).length),
    column<typeof securityGroup>('SHARED', (spec) => (spec.ruleRefs ?? []).map(referenceName), true),
  ],
  'security-group-rule': [
    state,
    column<typeof securityGroupRule>('DIRECTION', (spec) => spec.direction),
    column<typeof securityGroupRule>('PROTOCOL', (spec) => spec.protocol ?? 'any'),
    column<typeof securityGroupRule>('PORTS', (spec) => portsText(spec)),
    column<typeof securityGroupRule>('PEERS', (spec) => (spec.sourceRef?.length ? spec.sourceRef.map(peerText) : 'any')),
    column<typeof securityGroupRule>('VERSION', (spec) => spec.version ?? 'any', true),
  ],
  'public-ip': [
    state,
    column<typeof publicIp>('ADDRESS', (_spec, status) => status.ipAddress),
    column<typeof publicIp>('SITE', (_spec, status) => status.site),
    column<typeof publicIp>('ATTACHED', (_spec, status) => referenceName(status.attachedTo)),
  ],
  nic: [
    state,
    column<typeof nic>('ADDRESSES', (spec, status) => status.addresses ?? spec.addresses),
    column<typeof nic>('MAC', (_spec, status) => status.macAddress),
    column<typeof nic>('SUBNET', (spec) => referenceName(spec.subnetRef)),
    column<typeof nic>('ATTACHED', (_spec, status) => referenceName(status.attachedTo)),
    column<typeof nic>('GROUPS', (spec) => (spec.securityGroupRefs ?? []).map(referenceName), true),
    column<typeof nic>('PUBLIC IPS', (_spec, status) => (status.publicIpRefs ?? []).map(referenceName), true),
  ],
  role: [
    state,
    column<typeof role>('PROVIDERS', (spec) => [...new Set(spec.permissions.map((each) => each.provider))]),
    column<typeof role>('VERBS', (spec) => [...new Set(spec.permissions.flatMap((each) => each.verb))]),
  ],
  'role-assignment': [
    state,
    column<typeof roleAssignment>('SUBJECTS', (spec) => spec.subs),
    column<typeof roleAssignment>('ROLES', (spec) => spec.roles),
    column<typeof roleAssignment>('WORKSPACES', ({ scopes }) =>
      scopes.some(({ workspaces = [] }) => workspaces.length === 0) ? 'all' : [...new Set(scopes.flatMap((each) => each.workspaces ?? []))],
    ),
  ],
  provider: [
    state,
    column<typeof provider>('DISPLAY', (spec) => spec.displayName),
    column<typeof provider>('SEAT', (spec) => spec.legalSeat),
  ],
  account: [
    state,
    column<typeof account>('PROVIDER', (spec) => referenceName(spec.providerRef)),
    column<typeof account>('DRIVER', (spec) => spec.driver),
    column<typeof account>('HEALTHY', (_spec, status, now) => seenText(status.healthy, now, 'yes', 'no')),
  ],
  site: [
    state,
    column<typeof site>('REACHABLE', (_spec, status, now) => seenText(status.reachable, now, 'yes', 'unreachable')),
    column<typeof site>('COUNTRY', (spec) => spec.country),
    column<typeof site>('TIER', (spec) => spec.tier),
    column<typeof site>('HOSTS', (_spec, status) => status.hosts),
    column<typeof site>('VCPU FREE', (_spec, { capacity }) => share(capacity?.vCPUFree, capacity?.vCPU)),
    column<typeof site>('MIB FREE', (_spec, { capacity }) => share(capacity?.memoryMiBFree, capacity?.memoryMiB)),
    column<typeof site>('GB FREE', (_spec, { capacity }) => share(capacity?.storageGBFree, capacity?.storageGB)),
    column<typeof site>('ARCH', (_spec, status) => status.architectures, true),
    column<typeof site>('PUBLIC ADDRESSES', (spec) => spec.publicAddresses, true),
    column<typeof site>('ACCOUNT', (spec) => referenceName(spec.accountRef), true),
  ],
  host: [
    state,
    column<typeof host>('SITE', (spec) => referenceName(spec.siteRef)),
    column<typeof host>('CONNECTED', (_spec, status, now) => seenText(status.connected, now, 'yes', 'no')),
    column<typeof host>('CORDONED', (_spec, status) => status.cordoned === true),
    column<typeof host>('DRAIN', (_spec, status) => status.drain?.phase, true),
    column<typeof host>('INSTANCES', (_spec, status) => status.instances),
    column<typeof host>('AGENT', (_spec, status) => status.agentVersion, true),
    column<typeof host>('UPDATE', (_spec, { update }) => (update === undefined ? undefined : `${update.version} ${update.phase}`), true),
  ],
  'agent-release': [
    state,
    column<typeof agentRelease>('PHASE', (_spec, status) => status.phase),
    column<typeof agentRelease>('VERSION', (_spec, status) => status.version),
    column<typeof agentRelease>('ARCH', (_spec, status) => status.architecture),
    column<typeof agentRelease>('RECEIVED', (_spec, status) => percent(status.receivedBytes, status.totalBytes)),
  ],
  'instance-import': [
    state,
    column<typeof instanceImport>('PHASE', (_spec, status) => status.phase),
    column<typeof instanceImport>('RECEIVED', (_spec, status) => percent(status.receivedBytes, status.totalBytes)),
    column<typeof instanceImport>('INSTANCE', (_spec, status) => referenceName(status.instanceRef) ?? status.plan?.instance),
    column<typeof instanceImport>('DISKS', (_spec, status) => status.plan?.disks.length),
    column<typeof instanceImport>('FINDINGS', (_spec, status) => status.findings?.filter(({ severity }) => severity !== 'info').length),
    column<typeof instanceImport>('SOURCE', (spec) => ('url' in spec.source ? spec.source.url : 'upload'), true),
  ],
  'backup-export': [
    state,
    column<typeof backupExport>('PHASE', (_spec, status) => status.phase),
    column<typeof backupExport>('BACKUP', (spec) => referenceName(spec.backupRef)),
    column<typeof backupExport>('FORMAT', (spec) => spec.format),
    column<typeof backupExport>('FILES', (_spec, status) => (status.phase === 'done' ? status.files?.length : undefined)),
  ],
  backup: [
    state,
    column<typeof backup>('OF', (spec) => referenceName('instanceRef' in spec ? spec.instanceRef : spec.blockStorageRef)),
    column<typeof backup>('PHASE', (_spec, status) => status.phase),
    column<typeof backup>('TAKEN', (_spec, status) => status.takenAt),
    column<typeof backup>('CONSISTENCY', (_spec, status) => status.consistency),
    column<typeof backup>('BYTES', (_spec, status) => {
      const sizes = status.volumes?.map((each) => each.fileBytes ?? 0) ?? [];
      return sizes.some((size) => size > 0) ? bytesText(sizes.reduce((sum, size) => sum + size, 0)) : undefined;
    }),
    column<typeof backup>('PROBLEM', (_spec, status) => status.problem, true),
  ],
  'backup-schedule': [
    state,
    column<typeof backupSchedule>('OF', ({ of }) => referenceName('instanceRef' in of ? of.instanceRef : of.blockStorageRef)),
    column<typeof backupSchedule>('EVERY', ({ every }) => ('hours' in every ? `${every.hours} h` : `day at ${every.dailyAt}`)),
    column<typeof backupSchedule>('KEPT', (spec, status) => `${status.kept ?? 0}/${spec.keep}`),
    column<typeof backupSchedule>('NEXT', (_spec, status) => status.nextAt),
    column<typeof backupSchedule>('LAST', (_spec, status) => referenceName(status.lastBackupRef), true),
  ],
  snapshot: [
    state,
    column<typeof snapshot>('OF', (spec) => referenceName('instanceRef' in spec ? spec.instanceRef : spec.blockStorageRef)),
    column<typeof snapshot>('PHASE', (_spec, status) => status.phase),
    column<typeof snapshot>('TAKEN', (_spec, status) => status.takenAt),
    column<typeof snapshot>('CONSISTENCY', (_spec, status) => status.consistency),
    column<typeof snapshot>('DISKS', (_spec, status) => status.volumes?.map((each) => referenceName(each.blockStorageRef)), true),
    column<typeof snapshot>('REVERTED', (_spec, status) => status.revertedAt, true),
  ],
  migration: [
    state,
    column<typeof migration>('INSTANCE', (spec) => referenceName(spec.instanceRef)),
    column<typeof migration>('MODE', (spec) => spec.mode),
    column<typeof migration>('FROM', (_spec, status) => status.from?.site),
    column<typeof migration>('TO', (spec) => spec.toSite),
    column<typeof migration>('PHASE', (_spec, status) => status.phase),
    column<typeof migration>('PAUSE', (_spec, status) => (status.pauseMs === undefined ? undefined : pauseText(status.pauseMs)), true),
    column<typeof migration>('BYTES', (_spec, status) => (status.bytes === undefined ? undefined : bytesText(status.bytes)), true),
    column<typeof migration>('PROBLEM', (_spec, status) => status.problem, true),
  ],
};

/** Columns of a kind's table; a kind unknown here still has name, state and age. */
export function columnsOf(kind: Kind, wide: boolean, acrossWorkspaces = false): readonly Column[] {
  const workspaceColumn: readonly Column[] = acrossWorkspaces
    ? [{ title: 'WORKSPACE', cell: (resource) => cellText(resource.metadata.workspace) }]
    : [];
  const own = columnsOfKind[kind.kind] ?? (kind.status === undefined ? [] : [state]);
  return [...workspaceColumn, name, ...own, age, labels].filter((each) => wide || each.wide !== true);
}
