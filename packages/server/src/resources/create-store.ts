import { setTimeout as rest } from 'node:timers/promises';
import { Problem } from '@virt8ra/contract';
import { inTransaction, type WorkQueue } from '@virt8ra/engine';
import type { Pool, PoolClient } from 'pg';
import { askedTogether } from './asked-together.js';
import { createFeedBell } from './feed-bell.js';
import { RetryTransaction } from './retry-transaction.js';
import type { Store } from './store.js';
import { createStoreReader } from './store-reader.js';
import { createStoreTransaction, type OpenTransaction, type TransactionOptions } from './store-transaction.js';

export interface StoreOptions {
  readonly pool: Pool;
  /** Nudges go into the caller's transaction. */
  readonly queue: Pick<WorkQueue, 'nudge'>;
  /** Clock of everything that is written. Default: the system's. */
  readonly now?: () => Date;
  /** Tenants whose images and SKUs everybody may refer to. Default: `seca` and `public`, as SECA's texts do. */
  readonly sharedTenants?: readonly string[];
  /** Counts what was made or changed by a PUT, in its transaction. Default: nothing is counted. */
  readonly onPut?: TransactionOptions['onPut'];
  /** How often a transaction may begin again before it gives up with `conflict`. Default 10. */
  readonly attempts?: number;
}

/** Serialization failure, deadlock. */
const repeatableCodes = new Set(['40001', '40P01']);

export function createStore(options: StoreOptions): Store {
  const { pool, queue, now = () => new Date(), sharedTenants = ['seca', 'public'], attempts = 10 } = options;
  const bell = createFeedBell(pool);

  return {
    ...createStoreReader(pool, askedTogether),
    async transaction(work) {
      const contended = new Set<string>();
      for (let attempt = 1; ; attempt += 1) {
        try {
          let tx: OpenTransaction | undefined;
          const value = await inTransaction(
            pool,
            async (client) => {
              if (contended.size > 0) await lockFirst(client, [...contended]);
              tx = createStoreTransaction({ client, queue, now, sharedTenants, onPut: options.onPut });
              return await work(tx);
            },
            () => tx?.writeAudit() ?? [],
          );
          bell.ring();
          return value;
        } catch (error) {
          if (!isRepeatable(error)) throw error;
          if (error instanceof RetryTransaction && error.contended !== undefined) contended.add(error.contended);
          if (attempt >= attempts) {
            throw new Problem('conflict', 'others kept changing the same resources; repeat the request', {
              cause: error,
              retryAfterSeconds: 1,
            });
          }
          await rest(Math.random() * Math.min(200, 5 * 2 ** attempt));
        }
      }
    },
  };
}

/**
 * A transaction has its id once it holds the first of these locks, and keeps younger ones from that resource from then on: however many
 * contend, it loses at most once for each resource it did not lock first.
 */
async function lockFirst(client: PoolClient, uids: readonly string[]): Promise<void> {
  await client.query({
    name: 'resource-lock-contended',
    text: 'select uid from resource where uid = any($1) order by uid for no key update',
    values: [uids],
  });
}

function isRepeatable(error: unknown): boolean {
  if (error instanceof RetryTransaction) return true;
  return typeof error === 'object' && error !== null && 'code' in error && repeatableCodes.has(String(error.code));
}
