import { readFile } from 'node:fs/promises';
import { agentRelease, backupExport, type Id, imageImport, instanceImport, kinds, Problem } from '@virt8ra/contract';
import { createDrivers } from '@virt8ra/drivers';
import { createLeases, createReconciler, createRunner, createWorkQueue, inTransaction, type Log } from '@virt8ra/engine';
import { trustWith } from '@virt8ra/outbound';
import type { Pool } from 'pg';
import { type AccessEndpoints, createAccessEndpoints } from './access/access-endpoints.js';
import { createAccountCredentials } from './accounts/account-credentials.js';
import { offerProviderPresets, readProviderPresets } from './accounts/provider-presets.js';
import { createSiteConnections, type SiteConnections } from './accounts/site-connections.js';
import { extraDescriptions, extraKinds } from './app-description.js';
import { composeKinds } from './app-kinds.js';
import { migrations } from './app-migrations.js';
import { type ArtifactStore, openArtifactStore } from './artifacts/artifact-store.js';
import { startCollector, usedArtifacts } from './artifacts/collector.js';
import { awaitedImage, awaitedMachine, awaitedRelease, createUploadedContent } from './artifacts/uploaded-content.js';
import { addAuditRoutes } from './audit/audit-routes.js';
import { pruneAudit } from './audit/prune-audit.js';
import { keepRefusals } from './audit/refusals.js';
import { beginAuditEra, createSealer } from './audit/sealer.js';
import type { Config } from './config.js';
import { databaseEpoch, migrate } from './database/migrations.js';
import { closePool, createPool } from './database/pool.js';
import { startDatabase } from './database/supervisor.js';
import { createFleet, type Fleet } from './fleet/fleet.js';
import { createHttpServer, type HttpServer } from './http/http-server.js';
import type { AdminToken } from './identity/admin-token.js';
import { openIdentity } from './identity/open-identity.js';
import { seedSystemRoles } from './kinds/authorization/index.js';
import { recordBackupProgress } from './kinds/backup/index.js';
import { fileOfExport } from './kinds/backup-export/index.js';
import { readOwnSkus, seedCatalogue } from './kinds/catalogue/index.js';
import { wakeAwaiting } from './kinds/declarative/index.js';
import { accessTarget, openInstanceStream } from './kinds/instance/index.js';
import { recordTransferProgress } from './kinds/migration/index.js';
import { addMigrationPlanRoute } from './migration-plans/plan-route.js';
import { createEgress } from './outbound/egress.js';
import { createOutbound } from './outbound/outbound.js';
import { addBackupGauges, startBackupSchedule } from './plane-backup/schedule.js';
import { countQuota } from './quotas/count-quota.js';
import { mendQuotaUse } from './quotas/mend-quota-use.js';
import { createStore } from './resources/create-store.js';
import { startHousekeeping } from './resources/housekeeping.js';
import { reconcileHandlers, workKeysOfRealizations, workKeysOnHost } from './resources/reconcile-handlers.js';
import type { Store } from './resources/store.js';
import type { StoredResource } from './resources/stored-resource.js';
import { addHostGauges } from './samples/host-gauges.js';
import { addPathGauges } from './samples/path-gauges.js';
import { addPathRoutes } from './samples/path-routes.js';
import { addSampleRoutes } from './samples/sample-routes.js';
import { createSampleStore, type SampleStore } from './samples/sample-store.js';
import { openSecretBox } from './secrets/secret-box.js';
import { guardStandstill } from './standstill/guard.js';
import { addRestoreRoutes } from './standstill/restore-routes.js';
import { openStandstill } from './standstill/standstill.js';
import { withholding } from './standstill/withheld.js';
import { prepareStateDirectory, takeReplicaName } from './state-directory.js';
import { createStreamTickets } from './streams/tickets.js';
import { createMetrics } from './telemetry/metrics.js';
import { addServerGauges } from './telemetry/server-gauges.js';
import { meterUsage, pruneUsage } from './usage/meter.js';
import { addUsageRoutes } from './usage/usage-routes.js';
import { serverVersion } from './version.js';
import { startWebhooks } from './webhooks/start-webhooks.js';

/** The running control plane. */
export interface App {
  /** Of the API. */
  readonly url: string;
  readonly adminToken: AdminToken;
  /** All that the API serves. */
  readonly routes: HttpServer['routes'];
  /** Stops accepting, ends streams, parks runs, closes agents, stops the database. */
  stop(): Promise<void>;
}

/** Builds every part by hand, gives it its collaborators, and starts it. Raises a Problem that says what to mend. */
export async function startApp(config: Config, log: Log): Promise<App> {
  // Undone in reverse order, at the end or when the start fails half way.
  const stops: (() => Promise<void> | void)[] = [];
  const stop = async (): Promise<void> => {
    for (const step of stops.splice(0).reverse()) {
      try {
        await step();
      } catch (error) {
        log.error('a part did not stop cleanly', { error });
      }
    }
  };
  try {
    return await build(config, log, stops, stop);
  } catch (error) {
    await stop();
    throw error;
  }
}

async function build(config: Config, log: Log, stops: (() => Promise<void> | void)[], stop: () => Promise<void>): Promise<App> {
  const { stateDirectory } = config;
  await prepareStateDirectory(stateDirectory, log);
  const replica = await takeReplicaName(stateDirectory);
  stops.push(async () => await replica.release());
  const { caFile, extraCaFile, ...ways } = config.outbound;
  const outbound = createOutbound({ ...ways, ca: await trustWith(caFile, extraCaFile) });
  const identity = await openIdentity(config, { outbound, log });
  stops.push(() => identity.close());
  const { issuer, adminToken, subjects, signer } = identity;

  const database = await startDatabase({ config, log });
  stops.push(async () => await database.stop());
  const pool = createPool({ connection: database.connection, connections: config.database.connections, log });
  stops.push(async () => await closePool(pool));
  await migrate(pool, migrations, log);
  const epoch = await databaseEpoch(pool);
  if (await inTransaction(pool, beginAuditEra)) log.warn('the database was restored: the audit goes on in a new era');

  const standstill = await openStandstill(pool, log);
  stops.push(standstill.stop);

  const metrics = createMetrics({ version: serverVersion() });
  addServerGauges(metrics, pool);
  addBackupGauges(metrics, config.controlPlaneBackup.directory);
  stops.push(startBackupSchedule({ config, connection: database.connection, isHeld: () => standstill.isHeld, log }));
  const samples = createSampleStore(pool);
  addHostGauges(metrics.registry, samples);
  const artifacts = await openArtifactStore({
    directory: config.artifacts.directory,
    limits: config.artifacts,
    outbound,
    egress: createEgress(config.imports),
    log,
  });
  await standstill.whenReleased(async () => {
    stops.push(startCollector({ artifacts, used: async () => await usedArtifacts(pool), log }));
  });

  const queue = createWorkQueue({ pool, log, owner: replica.name, metrics: metrics.engine });
  const declarative = config.api.profile === 'conformance';
  const store = createStore({ pool, queue, onPut: declarative ? countAndWake : countQuota });

  const fleet = await openFleet({ config, pool, epoch, replica: replica.name, artifacts, queue, store, samples, log });
  addPathGauges(metrics.registry, fleet);
  const drivers = createDrivers({ agentFleet: fleet.port, http: outbound });
  const credentials = createAccountCredentials(pool, await openSecretBox(stateDirectory, 'accounts'));
  const sites = createSiteConnections({ store, drivers, credentials, log });
  stops.push(async () => await sites.close());
  const access = openAccess({ config, pool, store, sites, log });
  stops.push(async () => await access.stop());

  await seedCatalogue(store, config.tenants, await readOwnSkus(config.instanceSkus));
  await seedSystemRoles(store, config.tenants, kinds);
  await offerProviderPresets(store, await readProviderPresets(), new Date(), log);
  const { allow, allowHttp } = config.webhooks;
  const egress = createEgress({ allowPrivate: false, allow, whose: { who: 'webhooks', option: 'webhooks.allow' } });
  const box = await openSecretBox(stateDirectory, 'webhooks');
  const { context, behaviours, workflows, bindRunner } = composeKinds({
    region: config.region,
    declarative,
    issuer,
    subjects,
    store,
    pool,
    sites,
    fleet,
    artifacts,
    limits: config.artifacts,
    access,
    samples,
    webhooks: { queue, box, egress, allowHttp },
    drivers,
    credentials,
    log,
  });
  const runner = createRunner({ pool, queue, workflows, log, owner: replica.name, metrics: metrics.engine });
  bindRunner(runner);
  await runner.assertRunnable();
  const auditAge = { signer, log, keepSeconds: config.audit.keepDays * 24 * 3600 };
  const prunesAudit = async (): Promise<number> => await pruneAudit(pool, new Date(), auditAge);
  await standstill.whenReleased(async () => {
    stops.push(startHousekeeping({ pool, runner, samples, more: [prunesAudit, ...counting({ pool, store, log })], log }));
  });
  const sealer = createSealer({ pool, leases: createLeases({ pool }), owner: replica.name, signer, log });
  stops.push(async () => await sealer.stop());
  sealer.start();
  createReconciler({ queue, handlers: withholding(reconcileHandlers(store, behaviours), { pool, store }), log });
  const { region, api } = config;
  stops.push(startWebhooks({ pool, store, queue, behaviours, region, profile: api.profile, epoch, outbound, egress, box, log }));

  stops.push(async () => await fleet.stop());
  await fleet.listen();
  // Runs and reconciles end before the links they use.
  stops.push(async () => await queue.stop());
  stops.push(async () => await runner.stop());
  await standstill.whenReleased(async () => {
    fleet.plan();
    await queue.start();
  });
  await access.start();
  const nudge = async ({ kind, uid }: Pick<StoredResource, 'kind' | 'uid'>): Promise<void> => await queue.nudge(`${kind}/${uid}`);
  const http = createHttpServer({
    store,
    pool,
    behaviours,
    authenticate: identity.authenticateWith(pool),
    logins: identity.logins,
    region: config.region,
    profile: config.api.profile,
    log,
    metrics: metrics.registry,
    extraRoutes: [
      (app) => keepRefusals(app, { store, log }),
      (app) => guardStandstill(app, standstill),
      (app) => addRestoreRoutes(app, { pool, standstill }),
      (app) => addSampleRoutes(app, { store, samples }),
      (app) => addPathRoutes(app, { store, fleet }),
      (app) => addAuditRoutes(app, { pool, signer }),
      (app) => addUsageRoutes(app, pool),
      (app, decided) => addMigrationPlanRoute(app, { context, access: decided }),
    ],
    extraDescriptions,
    extraKinds,
    contents: {
      [imageImport.kind]: createUploadedContent({ noun: 'image import', awaited: awaitedImage, artifacts, onComplete: nudge }),
      [instanceImport.kind]: createUploadedContent({ noun: 'instance import', awaited: awaitedMachine, artifacts, onComplete: nudge }),
      [agentRelease.kind]: createUploadedContent({ noun: 'agent release', awaited: awaitedRelease, artifacts, onComplete: nudge }),
    },
    files: {
      async [backupExport.kind](resource, name) {
        const { sha256, fileBytes } = fileOfExport(resource, name);
        const read = async (start: number, end: number) => await artifacts.open(sha256, { start, end: end + 1 });
        return { sizeBytes: fileBytes, sha256, read };
      },
    },
    streams: {
      tickets: createStreamTickets(pool),
      open: async (resource, target, caller) => await openInstanceStream({ store, sites, database: pool }, resource, target, caller),
    },
    ...(config.api.publicUrl === undefined ? {} : { publicUrl: config.api.publicUrl }),
    ...(config.api.tls === undefined ? {} : { tls: await readTls(config.api.tls) }),
  });
  stops.push(async () => await http.stop());
  const url = await listenOn(http, config.api.listen);
  log.info('the control plane is up', { region: config.region, epoch, replica: replica.name, agents: fleet.url });
  return { url, adminToken, routes: http.routes, stop };
}

async function countAndWake(...changed: Parameters<typeof countQuota>): Promise<void> {
  await countQuota(...changed);
  await wakeAwaiting(...changed);
}

/** Often enough that no hour's samples are gone before they are recorded, and seldom enough to cost nothing. */
const countEverySeconds = 300;

function counting({
  pool,
  store,
  log,
}: {
  readonly pool: Pool;
  readonly store: Store;
  readonly log: Log;
}): readonly (() => Promise<number>)[] {
  let last = Number.NEGATIVE_INFINITY;
  const due = (): boolean => {
    if (performance.now() - last < countEverySeconds * 1000) return false;
    last = performance.now();
    return true;
  };
  return [
    async () => {
      if (!due()) return 0;
      // Whoever was there before quotas were counts for its size first.
      await mendQuotaUse(pool, store, log);
      await meterUsage(pool);
      return await pruneUsage(pool);
    },
  ];
}

async function openFleet(parts: {
  readonly config: Config;
  readonly pool: Pool;
  readonly epoch: string;
  readonly replica: string;
  readonly artifacts: ArtifactStore;
  readonly queue: ReturnType<typeof createWorkQueue>;
  readonly store: Store;
  readonly samples: SampleStore;
  readonly log: Log;
}): Promise<Fleet> {
  const { config, pool, artifacts, queue, store, samples, log } = parts;
  return await createFleet({
    pool,
    epoch: parts.epoch,
    serverId: parts.replica,
    stateDirectory: config.stateDirectory,
    listen: config.agents.listen,
    publicUrl: config.agents.publicUrl,
    replicaUrl: config.agents.replicaUrl,
    artifacts: {
      size: async (sha256) => (await artifacts.find(sha256))?.fileBytes,
      read: async (sha256, start, end) => await artifacts.open(sha256, { start, end: end + 1 }),
    },
    contents: artifacts,
    log,
    async onObserved(objects) {
      const keys = await workKeysOfRealizations(
        pool,
        objects.map(({ key }) => key),
      );
      if (keys.length > 0) await queue.nudge(keys);
    },
    async onHostChanged(host) {
      const keys = await workKeysOnHost(pool, host);
      if (keys.length > 0) await queue.nudge(keys);
    },
    async onProgress(progress) {
      await recordTransferProgress(store, progress);
      await recordBackupProgress(store, progress);
    },
    pathProbing: { enabled: config.paths.probes },
    onSamples: async (host, taken) => await samples.take(host, taken),
  });
}

function openAccess(parts: {
  readonly config: Config;
  readonly pool: Pool;
  readonly store: Store;
  readonly sites: SiteConnections;
  readonly log: Log;
}): AccessEndpoints {
  const { config, pool, store, sites, log } = parts;
  const { listen, ports, publicHost } = config.access;
  return createAccessEndpoints({
    pool,
    listen,
    ports,
    ...(publicHost === undefined ? {} : { publicHost }),
    lookup: async (instance, port) => await accessTarget({ store, sites, database: pool }, instance as Id<'resource'>, port),
    log,
  });
}

async function listenOn(http: HttpServer, { host, port }: Config['api']['listen']): Promise<string> {
  try {
    return await http.listen({ host, port });
  } catch (cause) {
    throw new Problem(
      'unavailable',
      `the API cannot listen on ${host}:${port}: ${(cause as Error).message}; choose another with --api-listen`,
      { cause },
    );
  }
}

async function readTls(files: { readonly certificate: string; readonly key: string }): Promise<{ certificate: string; key: string }> {
  const read = async (path: string): Promise<string> =>
    await readFile(path, 'utf8').catch((cause: unknown) => {
      throw new Problem('validation', `the PEM file ${path} cannot be read: ${(cause as Error).message}`, { cause });
    });
  return { certificate: await read(files.certificate), key: await read(files.key) };
}
