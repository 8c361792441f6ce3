/**
 * Stable TCP addresses of instances' ports: one listening port of ours per exposed port, for the instance's life, wherever it runs. Each
 * replica forwards by itself; which port leads where is in the database.
 */
import { isIP } from 'node:net';
import { Problem, toProblem } from '@virt8ra/contract';
import { inTransaction, type Log } from '@virt8ra/engine';
import type { Pool, PoolClient } from 'pg';
import { createNotifications } from '../database/notifications.js';
import { errorCode } from '../files/atomic-file.js';
import { askedTogether } from '../resources/asked-together.js';
import { type AccessTarget, createForwarder, type Forwarder } from './forwarder.js';
import { accessChannel, tellChanged } from './moved.js';

export interface AccessEndpointsOptions {
  readonly pool: Pool;
  /** Address the endpoints listen on. */
  readonly listen: string;
  readonly ports: { readonly first: number; readonly last: number };
  /** Host in the addresses that users are told; default: the listen address. */
  readonly publicHost?: string;
  /** Where the port of an instance is now, by the newest observation; undefined: nowhere. */
  readonly lookup: (instance: string, port: number) => Promise<AccessTarget | undefined>;
  readonly log: Log;
  /** Default: 15000. */
  readonly patienceMs?: number;
  readonly limits?: { readonly perEndpoint: number; readonly inAll: number };
}

export interface AccessAddress {
  /** Of the instance. */
  readonly port: number;
  /** Such as `127.0.0.1:20001`. */
  readonly address: string;
}

export interface AccessEndpoints {
  /** Makes the instance's endpoints exactly these. Ports keep their addresses. Raises `exhausted` when no port is free. */
  ensure(instance: string, ports: readonly number[]): Promise<readonly AccessAddress[]>;
  /** Ends all of an instance's endpoints; silent when there are none. */
  remove(instance: string): Promise<void>;
  addressesOf(instances: readonly string[]): Promise<ReadonlyMap<string, readonly AccessAddress[]>>;
  start(): Promise<void>;
  stop(): Promise<void>;
}

const lockKey = 8_480_003;
/** Ports that were taken by someone else, and lost notifications, are looked at again so often. */
const reviewMs = 5000;

interface Row {
  readonly listen_port: number;
  readonly instance: string;
  readonly port: number;
}

interface Open {
  readonly instance: string;
  readonly port: number;
  readonly forwarder: Forwarder;
}

export function createAccessEndpoints(options: AccessEndpointsOptions): AccessEndpoints {
  const { pool, log, lookup, patienceMs = 15_000, limits = { perEndpoint: 256, inAll: 4096 } } = options;
  const open = new Map<number, Open>();
  let connections = 0;
  let stopped = false;
  const addressesOf = askedTogether<readonly string[], ReadonlyMap<string, readonly AccessAddress[]>>(async (asks) => {
    const { rows } = await pool.query<Row>('select listen_port, instance, port from access.endpoint where instance = any($1)', [
      asks.flat(),
    ]);
    const byInstance = new Map<string, Row[]>();
    for (const row of rows) byInstance.set(row.instance, [...(byInstance.get(row.instance) ?? []), row]);
    return asks.map((instances) => {
      const own = instances.flatMap((instance) => {
        const found = byInstance.get(instance);
        return found === undefined ? [] : [[instance, addressesFromRows(found)] as const];
      });
      return new Map(own);
    });
  });
  let timer: NodeJS.Timeout | undefined;
  // Opening and closing go one after the other: a port is never opened twice.
  let tail: Promise<void> = Promise.resolve();

  const alone = async <Value>(work: () => Promise<Value>): Promise<Value> => {
    const turn = tail.then(work);
    tail = turn.then(
      () => undefined,
      () => undefined,
    );
    return await turn;
  };
  const addressOf = (listenPort: number): string => {
    const host = options.publicHost ?? options.listen;
    return `${isIP(host) === 6 ? `[${host}]` : host}:${listenPort}`;
  };
  /** False when someone else listens there. */
  const openPort = async ({ listen_port: listenPort, instance, port }: Row): Promise<boolean> => {
    const forwarder = createForwarder({
      host: options.listen,
      port: listenPort,
      // What cannot be looked up now is nowhere for now: the client waits.
      lookup: async () =>
        await lookup(instance, port).catch((error: unknown) => {
          log.debug('an access endpoint could not be looked up', { instance, port, problem: toProblem(error).message });
          return undefined;
        }),
      patienceMs,
      connectionsMost: limits.perEndpoint,
      admit: () => {
        if (connections >= limits.inAll) return false;
        connections += 1;
        return true;
      },
      leave: () => {
        connections -= 1;
      },
      log,
    });
    try {
      await forwarder.listen();
    } catch (error) {
      if (errorCode(error) === 'EADDRINUSE' || errorCode(error) === 'EACCES') return false;
      throw error;
    }
    open.set(listenPort, { instance, port, forwarder });
    return true;
  };
  const closePort = async (listenPort: number): Promise<void> => {
    const entry = open.get(listenPort);
    open.delete(listenPort);
    await entry?.forwarder.close();
  };

  /** Opens and closes what the database says. */
  const review = async (): Promise<void> => {
    if (stopped) return;
    const rows = await pool.query<Row>('select listen_port, instance, port from access.endpoint where instance is not null');
    const wanted = new Map(rows.rows.map((row) => [row.listen_port, row]));
    for (const [listenPort, { instance, port }] of open) {
      const row = wanted.get(listenPort);
      if (row?.instance !== instance || row.port !== port) await closePort(listenPort);
    }
    for (const row of rows.rows) {
      if (open.has(row.listen_port)) continue;
      if (!(await openPort(row))) log.warn('an access endpoint’s port is taken by another process', { port: row.listen_port });
    }
  };
  const reviewSafely = (): void => {
    alone(review).catch((error: unknown) => log.warn('access endpoints could not be reviewed', { problem: toProblem(error).message }));
  };
  /** Ends what leads to where an instance was. */
  const turn = (moved: string): void => {
    for (const { instance, forwarder } of open.values()) if (instance === moved) forwarder.turn();
  };
  const notifications = createNotifications({
    pool,
    channel: accessChannel,
    log,
    onNotification(payload) {
      if (payload === undefined || payload === '') reviewSafely();
      else turn(payload);
    },
  });

  /** Takes the port that was free the longest and that this machine can open. */
  const takePort = async (client: PoolClient, instance: string, port: number): Promise<Row> => {
    const { first, last } = options.ports;
    const candidates = await client.query<{ listen_port: number }>(
      `select candidate as listen_port from generate_series($1::integer, $2::integer) as candidate
         left join access.endpoint on listen_port = candidate
        where instance is null order by freed_at nulls first, candidate`,
      [first, last],
    );
    for (const { listen_port: listenPort } of candidates.rows) {
      const row = { listen_port: listenPort, instance, port };
      if (!(await openPort(row))) continue;
      await client.query(
        `insert into access.endpoint (listen_port, instance, port) values ($1, $2, $3)
         on conflict (listen_port) do update set instance = excluded.instance, port = excluded.port, freed_at = null`,
        [listenPort, instance, port],
      );
      return row;
    }
    throw new Problem('exhausted', `none of the ports ${first}-${last} is free for port ${port} of the instance; widen access.ports`);
  };

  const ensure = async (instance: string, ports: readonly number[]): Promise<readonly AccessAddress[]> => {
    const taken: number[] = [];
    try {
      const rows = await inTransaction(pool, async (client) => {
        await client.query('select pg_advisory_xact_lock($1)', [lockKey]);
        const freed = await client.query(
          `update access.endpoint set instance = null, port = null, freed_at = clock_timestamp() where instance = $1 and port <> all($2)`,
          [instance, ports],
        );
        const kept = await client.query<Row>('select listen_port, instance, port from access.endpoint where instance = $1', [instance]);
        const made: Row[] = [];
        for (const port of new Set(ports)) {
          if (kept.rows.some((row) => row.port === port)) continue;
          const row = await takePort(client, instance, port);
          taken.push(row.listen_port);
          made.push(row);
        }
        if (made.length > 0 || freed.rowCount !== 0) await tellChanged(client);
        return [...kept.rows, ...made];
      });
      await review();
      return addressesFromRows(rows);
    } catch (error) {
      for (const listenPort of taken) await closePort(listenPort);
      throw error;
    }
  };
  const addressesFromRows = (rows: readonly Row[]): readonly AccessAddress[] =>
    [...rows].sort((a, b) => a.port - b.port).map((row) => ({ port: row.port, address: addressOf(row.listen_port) }));

  return {
    ensure: async (instance, ports) => await alone(async () => await ensure(instance, ports)),
    remove: async (instance) => {
      await alone(async () => await ensure(instance, []));
    },
    addressesOf: async (instances) => await addressesOf(instances),
    async start() {
      await notifications.start();
      await alone(review);
      timer = setInterval(reviewSafely, reviewMs);
    },
    async stop() {
      stopped = true;
      clearInterval(timer);
      await notifications.stop();
      await alone(async () => {
        for (const listenPort of [...open.keys()]) await closePort(listenPort);
      });
    },
  };
}
