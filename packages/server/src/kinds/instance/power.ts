import type { Id } from '@virt8ra/contract';
import type { PoolClient } from 'pg';

/** What the owner wants of an instance's power. SECA has no field for it: POST start, stop and restart write here. */
export interface PowerIntent {
  readonly power: 'on' | 'off';
  /** Grows with every restart asked for. */
  readonly restarts: number;
}

export const powerMigrations: readonly { readonly name: string; readonly sql: string }[] = [
  {
    name: 'instance-0002-power',
    sql: `
      create table instance_power (
        instance_uid text primary key,
        power text not null check (power in ('on', 'off')),
        restarts integer not null default 0
      );`,
  },
];

type Client = Pick<PoolClient, 'query'>;

/** A new instance is off until it is started (SECA: `powerState` defaults to off). */
export async function instancePower(client: Client, uid: Id<'resource'>): Promise<PowerIntent> {
  const { rows } = await client.query<PowerIntent>('select power, restarts from instance_power where instance_uid = $1', [uid]);
  return rows[0] ?? { power: 'off', restarts: 0 };
}

/** Writes the first intent; a later one is kept. */
export async function beginInstancePower(client: Client, uid: Id<'resource'>, power: PowerIntent['power']): Promise<void> {
  await client.query('insert into instance_power (instance_uid, power) values ($1, $2) on conflict (instance_uid) do nothing', [
    uid,
    power,
  ]);
}

export async function setInstancePower(client: Client, uid: Id<'resource'>, power: PowerIntent['power'], restart = false): Promise<void> {
  await client.query(
    `insert into instance_power (instance_uid, power, restarts) values ($1, $2, $3)
     on conflict (instance_uid) do update set power = excluded.power, restarts = instance_power.restarts + excluded.restarts`,
    [uid, power, restart ? 1 : 0],
  );
}

export async function forgetInstancePower(client: Client, uid: Id<'resource'>): Promise<void> {
  await client.query('delete from instance_power where instance_uid = $1', [uid]);
}
