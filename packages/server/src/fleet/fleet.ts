/**
 * The hosts with our agent: who they are (certificates), what is wanted of them, what they report. Knows objects by key and nothing of
 * resources. State is in PostgreSQL, so that any replica answers for any host; only live links are in memory.
 */
import { join } from 'node:path';
import {
  type Enrolment,
  type HostObject,
  type HostPath,
  type OpenedStream,
  type PathLook,
  Problem,
  type StreamTarget,
  type Surrender,
} from '@virt8ra/contract';
import type { Log, Queryable } from '@virt8ra/engine';
import type { Pool } from 'pg';
import { type ArtifactReader, createArtifactRoute } from './artifact-route.js';
import { type Authority, openAuthority } from './authority.js';
import { type ContentIntake, createBackupRoute } from './backup-route.js';
import { createEnrolments } from './enrolments.js';
import { createHostObjects } from './host-objects.js';
import { createFleetHosts, type FleetHosts, type HostStatus } from './hosts.js';
import { createObservedIntake } from './intake.js';
import { createLinkStore } from './link-store.js';
import { createLinks, type FleetEvents } from './links.js';
import { createAgentListener } from './listener.js';
import { createOverlayPlanner, noteOverlayChange } from './overlay/overlay-planner.js';
import { type HostPair, readNetworkPairs } from './overlay/overlay-reach.js';
import { createPathPlanner, type PathProbing } from './paths/path-planner.js';
import { readMostCarried, readPathHistory, readPaths } from './paths/read-paths.js';
import { createFleetStreams, type FleetStreamsOptions } from './streams.js';
import { surrenderFault } from './surrender.js';

export interface FleetOptions extends FleetEvents {
  readonly pool: Pool;
  /** Of the database; agents tell generations that began again by it. */
  readonly epoch: string;
  /** This replica. */
  readonly serverId: string;
  /** Keys are in `pki` below it. */
  readonly stateDirectory: string;
  readonly listen: { readonly host: string; readonly port: number };
  readonly publicUrl?: string | undefined;
  /** How agents reach this very replica; undefined: as they reach all. */
  readonly replicaUrl?: string | undefined;
  readonly streamLimits?: Pick<FleetStreamsOptions, 'perHost' | 'dialSeconds'>;
  /** A host that is not heard for so long is silent: nothing it reported is current any more. */
  readonly silenceSeconds?: number;
  /** Default: no path is measured; what transfers tell is kept. */
  readonly pathProbing?: PathProbing;
  readonly artifacts: ArtifactReader;
  /** Where backups come in. */
  readonly contents: ContentIntake;
  readonly log: Log;
}

export interface Fleet extends FleetHosts {
  /** What the driver of agent sites needs. */
  readonly port: ReturnType<typeof createHostObjects> & {
    hosts(site: string): Promise<readonly HostStatus[]>;
    openStream(
      site: string,
      instance: HostObject,
      target: StreamTarget,
      caller: { readonly by: string; readonly signal: AbortSignal },
    ): Promise<OpenedStream>;
  };
  /** See `Enrolments.create`. `client` takes part in the caller's transaction. */
  createEnrolment(host: string, site: string, client?: Queryable): Promise<Enrolment>;
  /** Why a surrender does not prove that `epoch` of `instance` has ended; undefined: it does. */
  surrenderFault(surrender: Surrender, instance: string, epoch: number): string | undefined;
  /** VXLAN identifier → every pair of hosts that have it, and whether they are one segment as measured. */
  networkPairs(vnis: readonly number[]): Promise<ReadonlyMap<number, readonly HostPair[]>>;
  /** What is known of how octets get from host to host. */
  paths(limit: number): Promise<readonly HostPath[]>;
  pathHistory(from: string, to: string): Promise<readonly PathLook[]>;
  /** The most that a host's moves carried to anywhere within a week. */
  mostCarried(from: string): Promise<{ readonly bytesPerSecond: number; readonly at: string } | undefined>;
  /** Has a path measured now; see `PathPlanner.measure`. */
  measurePath(from: string, to: string): Promise<string | undefined>;
  /** Has the host make itself a new tunnel key; `client` takes part in the caller's transaction. Raises Problem conflict when it has no tunnels. */
  rotateTunnelKey(host: string, client?: Queryable): Promise<void>;
  readonly caSha256: string;
  /** Where agents dial; with port 0 only true after `listen`. */
  readonly url: string;
  listen(): Promise<void>;
  /** Begins to plan tunnels, and to have paths measured. */
  plan(): void;
  stop(): Promise<void>;
}

const defaultSilenceSeconds = 15;

/** Raises `conflict` when the agents of this database trust another CA than the one in the state directory. */
export async function createFleet(options: FleetOptions): Promise<Fleet> {
  const { pool, epoch, log, silenceSeconds = defaultSilenceSeconds } = options;
  const directory = join(options.stateDirectory, 'pki');
  const authority = await openAuthority(directory);
  await assertAuthority(pool, authority, directory);
  const enrolments = createEnrolments(pool, authority);
  const hosts = createFleetHosts(pool, silenceSeconds);
  const overlay = createOverlayPlanner({ pool, caSha256: authority.sha256, log });
  const links = createLinks({
    pool,
    serverId: options.serverId,
    epoch,
    silenceSeconds,
    store: createLinkStore(pool, silenceSeconds),
    intake: createObservedIntake(pool, epoch),
    events: options,
    overlayChanged: overlay.kick,
    pathProbed: async (host, message) => await paths.take(host, message),
    log,
  });
  const paths = createPathPlanner({ pool, silenceSeconds, probing: options.pathProbing ?? { enabled: false }, ask: links.ask, log });
  const streams = createFleetStreams({
    pool,
    silenceSeconds,
    replicaUrl: options.replicaUrl,
    ask: links.ask,
    log,
    ...options.streamLimits,
  });
  const listener = createAgentListener({
    streams,
    listen: options.listen,
    publicUrl: options.publicUrl,
    replicaUrl: options.replicaUrl,
    authority,
    enrolments,
    links,
    artifact: createArtifactRoute(pool, options.artifacts),
    backup: createBackupRoute(pool, options.contents),
    log,
  });
  return {
    ...hosts,
    port: {
      ...createHostObjects({ pool, epoch, silenceSeconds, overlayChanged: overlay.kick }),
      hosts: hosts.hostsOfSite,
      openStream: async (site, { host, key }, target, caller) => await streams.open({ site, host, instanceKey: key, target, ...caller }),
    },
    async createEnrolment(host, site, client) {
      const { token, expiresAt } = await enrolments.create(host, site, client);
      return { token, expiresAt, url: listener.url(), caSha256: authority.sha256, host, site };
    },
    surrenderFault: (surrender, instance, ended) => surrenderFault(surrender, instance, ended, authority),
    networkPairs: async (vnis) => await readNetworkPairs(pool, vnis, silenceSeconds),
    paths: async (limit) => await readPaths(pool, silenceSeconds, limit),
    pathHistory: async (from, to) => await readPathHistory(pool, from, to),
    mostCarried: async (from) => await readMostCarried(pool, from),
    measurePath: paths.measure,
    async rotateTunnelKey(host, client = pool) {
      const told = await client.query('update fleet.overlay set rotation = rotation + 1 where host = $1 and desired is not null', [host]);
      if (told.rowCount === 0)
        throw new Problem(
          'conflict',
          `host ${host} has no tunnels: none of its networks is on another machine, or another host there carries them`,
        );
      await noteOverlayChange(client, [host]);
    },
    caSha256: authority.sha256,
    get url() {
      return listener.url();
    },
    async listen() {
      await links.start();
      await listener.listen();
      streams.start();
    },
    plan() {
      overlay.start();
      paths.start();
    },
    async stop() {
      streams.stop();
      await links.stop();
      await listener.stop();
      await overlay.stop();
      await paths.stop();
    },
  };
}

async function assertAuthority(pool: Pool, authority: Authority, directory: string): Promise<void> {
  await pool.query('insert into fleet.authority (sha256) values ($1) on conflict do nothing', [authority.sha256]);
  const trusted = await pool.query<{ sha256: string }>('select sha256 from fleet.authority');
  if (trusted.rows.some((row) => row.sha256 === authority.sha256)) return;
  throw new Problem(
    'conflict',
    `the CA in ${directory} is not the one that this database’s agents trust; restore pki/ca.key and pki/ca.pem from the backup, or copy them from another replica`,
  );
}
