import type { Pool, PoolClient } from 'pg';
import { inTransaction } from './database.js';
import { LeaseLost } from './lease-lost.js';

/** Exclusive, expiring ownership of a name across all replicas. The clock is the database's. */
export interface Leases {
  /**
   * Takes the lease when it is free, has run out or is this owner's already. The fencing token grows with every acquisition, so that an
   * earlier holder, even of the same name, is told apart. Undefined: someone else holds it.
   */
  acquire(name: string, owner: string, seconds: number): Promise<number | undefined>;
  /** Prolongs from now. Raises `LeaseLost` when the token is no longer the current one. */
  renew(name: string, fence: number, seconds: number): Promise<void>;
  /** Gives the lease back; silent when it is lost already. */
  release(name: string, fence: number): Promise<void>;
  /**
   * One transaction that can only commit while the token is current: a take-over waits for it, or it raises `LeaseLost` and nothing is
   * written. This, not a look at the clock, is what protects against an owner that was paused.
   */
  guarded<Value>(name: string, fence: number, work: (client: PoolClient) => Promise<Value>): Promise<Value>;
}

export function createLeases(options: { readonly pool: Pool }): Leases {
  const { pool } = options;
  return {
    async acquire(name, owner, seconds) {
      const { rows } = await pool.query<{ fence: string }>(
        `insert into engine.lease as held (name, owner, fence, lease_until)
         values ($1, $2, nextval('engine.fence'), clock_timestamp() + make_interval(secs => $3))
         on conflict (name) do update set owner = excluded.owner, fence = excluded.fence, lease_until = excluded.lease_until
         where held.owner = excluded.owner or held.lease_until <= clock_timestamp()
         returning fence`,
        [name, owner, seconds],
      );
      return rows[0] === undefined ? undefined : Number(rows[0].fence);
    },
    async renew(name, fence, seconds) {
      const { rowCount } = await pool.query(
        'update engine.lease set lease_until = clock_timestamp() + make_interval(secs => $3) where name = $1 and fence = $2',
        [name, fence, seconds],
      );
      if (rowCount === 0) throw new LeaseLost(`lease ${name}`);
    },
    async release(name, fence) {
      await pool.query('delete from engine.lease where name = $1 and fence = $2', [name, fence]);
    },
    async guarded(name, fence, work) {
      return await inTransaction(pool, async (client) => {
        const { rowCount } = await client.query('select 1 from engine.lease where name = $1 and fence = $2 for share', [name, fence]);
        if (rowCount === 0) throw new LeaseLost(`lease ${name}`);
        return await work(client);
      });
    },
  };
}
