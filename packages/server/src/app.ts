import { join } from 'node:path';
import { createWorkQueue, engineMigrations, type Log } from '@virt8ra/engine';
import { openArtifactStore } from './artifacts/artifact-store.js';
import { createEgress } from './artifacts/egress.js';
import { capacityMigrations } from './capacity/claims.js';
import type { Config } from './config.js';
import { databaseEpoch, type MigrationList, migrate } from './database/migrations.js';
import { createPool } from './database/pool.js';
import { startDatabase } from './database/supervisor.js';
import { withFileLock } from './files/file-lock.js';
import { type AdminToken, ensureAdminToken } from './identity/admin-token.js';
import { type Issuer, openIssuer } from './identity/issuer.js';
import { createStore } from './resources/create-store.js';
import { createFeedHub } from './resources/feed-hub.js';
import { startHousekeeping } from './resources/housekeeping.js';
import { resourceMigrations } from './resources/migrations.js';
import { prepareStateDirectory, takeReplicaName } from './state-directory.js';
import { createMetrics } from './telemetry/metrics.js';
import { serverVersion } from './version.js';

/** The running control plane. */
export interface App {
  /** Of the API. */
  readonly url: string;
  readonly adminToken: AdminToken;
  /** Stops accepting, ends streams, parks runs, closes agents, stops the database. */
  stop(): Promise<void>;
}

const migrations: readonly MigrationList[] = [
  { area: 'engine', migrations: engineMigrations },
  { area: 'resources', migrations: resourceMigrations },
  { area: 'capacity', migrations: capacityMigrations },
];

/** Builds every part by hand, gives it its collaborators, and starts it. Raises a Problem that says what to mend. */
export async function startApp(config: Config, log: Log): Promise<App> {
  // Undone in reverse order, at the end or when the start fails half way.
  const stops: (() => Promise<void>)[] = [];
  const stop = async (): Promise<void> => {
    for (const step of stops.splice(0).reverse()) {
      await step().catch((error: unknown) => log.error('a part did not stop cleanly', { error }));
    }
  };
  try {
    return await build(config, log, stops, stop);
  } catch (error) {
    await stop();
    throw error;
  }
}

async function build(config: Config, log: Log, stops: (() => Promise<void>)[], stop: () => Promise<void>): Promise<App> {
  const { stateDirectory } = config;
  await prepareStateDirectory(stateDirectory, log);
  const replica = await takeReplicaName(stateDirectory);
  stops.push(async () => await replica.release());
  const { issuer, adminToken } = await openIdentity(config);

  const database = await startDatabase({ config, log });
  stops.push(async () => await database.stop());
  const pool = createPool({ connection: database.connection, connections: config.database.connections, log });
  stops.push(async () => await pool.end());
  await migrate(pool, migrations, log);
  const epoch = await databaseEpoch(pool);

  const metrics = createMetrics({ version: serverVersion() });
  const artifacts = await openArtifactStore({
    directory: config.artifacts.directory,
    limits: config.artifacts,
    egress: createEgress(config.imports),
    log,
  });
  const queue = createWorkQueue({ pool, log, owner: replica.name, metrics: metrics.engine });
  stops.push(async () => await queue.stop());
  const store = createStore({ pool, queue });
  const feed = createFeedHub({ pool, log });
  stops.push(async () => feed.stop());
  const stopHousekeeping = startHousekeeping({ pool, log });
  stops.push(async () => stopHousekeeping());
  await queue.start();
  void artifacts;
  void store;
  void issuer;
  log.info('the control plane is up', { region: config.region, epoch, replica: replica.name });
  return { url: `http://${config.api.listen.host}:${config.api.listen.port}`, adminToken, stop };
}

/** Servers that start together on a new state directory must agree on one key. */
export async function openIdentity(config: Pick<Config, 'stateDirectory' | 'region'>): Promise<{ issuer: Issuer; adminToken: AdminToken }> {
  return await withFileLock(join(config.stateDirectory, 'identity.lock'), async () => {
    const issuer = await openIssuer(config);
    return { issuer, adminToken: await ensureAdminToken(config.stateDirectory, issuer) };
  });
}
