import { setTimeout as rest } from 'node:timers/promises';
import { blockStorage, type Id } from '@virt8ra/contract';
import { createRecordedLog, startTestPostgres, type TestDatabase, type TestPostgres } from '@virt8ra/engine/testing';
import fc from 'fast-check';
import type { Pool } from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createStore } from './create-store.js';
import { assertOnFeed, type FeedEntry, feedEnd, readFeed } from './feed.js';
import { createFeedHub, type FeedHub, type Watcher } from './feed-hub.js';
import { comparePositions, type FeedPosition, positionFromText, textFromPosition } from './feed-position.js';
import { pruneResources } from './housekeeping.js';
import { resourceMigrations } from './migrations.js';
import type { Store } from './store.js';
import type { StoredResource } from './stored-resource.js';

let postgres: TestPostgres;
let database: TestDatabase;
let pool: Pool;
let store: Store;
let hub: FeedHub;

beforeAll(async () => {
  postgres = await startTestPostgres();
});
afterAll(async () => await postgres?.stop());
beforeEach(async () => {
  database = await postgres.createDatabase(resourceMigrations);
  pool = database.pool;
  pool.options.max = 40;
  store = createStore({ pool, queue: { nudge: async () => undefined } });
  hub = createFeedHub({ pool, log: createRecordedLog() });
  return () => hub.stop();
});

async function putDisk(name: string, labels: Readonly<Record<string, string>> = {}): Promise<StoredResource> {
  const address = { tenant: 'acme', workspace: 'prod', name };
  return await store.transaction(
    async (tx) =>
      await tx.put({ kind: blockStorage, address, labels, spec: { sizeGB: 1 }, state: 'active', conditions: [{ state: 'active' }] }),
  );
}

/** Everything after a cursor, once it is `count` entries: any transaction of the cluster, such as one of autovacuum, may hold them back. */
async function readAll(after: FeedPosition, count: number): Promise<readonly FeedEntry[]> {
  for (;;) {
    const { entries } = await readFeed(pool, after, 1000);
    if (entries.length >= count) return entries;
    await rest(5);
  }
}
const beginning: FeedPosition = { xid: 0n, seq: 0n };

/** Collects what it is given; `until` resolves when the condition holds for all of it. */
function collector() {
  const entries: FeedEntry[] = [];
  const checks = new Set<() => void>();
  const ends: string[] = [];
  const push = (more: readonly FeedEntry[]): boolean => {
    entries.push(...more);
    for (const check of checks) check();
    return true;
  };
  const watcher: Watcher = {
    push,
    fill: async (more) => push(more),
    end: (why) => ends.push(why),
  };
  const until = async (holds: (entries: readonly FeedEntry[]) => boolean): Promise<void> =>
    await new Promise((resolve) => {
      const check = (): void => {
        if (!holds(entries)) return;
        checks.delete(check);
        resolve();
      };
      checks.add(check);
      check();
    });
  return { entries, ends, watcher, until };
}

/** mulberry32 */
function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

describe('a look at the end of a long feed', () => {
  it.each([false, true])('reads none of what is before it (with statistics: %s)', async (analyzed) => {
    const past = `insert into feed (type, kind, uid, ref, labels) select 'put', 'workspace', 'res_' || i, 'r', '{}' from generate_series(1, 20000) as i`;
    await pool.query(past);
    if (analyzed) await pool.query('analyze feed');
    const from = await feedEnd(pool);
    const client = await pool.connect();
    try {
      await client.query('begin');
      // As often as it takes the planner to settle on one plan for all positions.
      for (let look = 0; look < 12; look += 1) expect((await readFeed(client, from, 500)).entries).toEqual([]);
      const { rows } = await client.query<{ seq_tup_read: string; idx_tup_fetch: string }>(
        `select seq_tup_read, idx_tup_fetch from pg_stat_xact_user_tables where relname = 'feed'`,
      );
      expect(rows).toEqual([{ seq_tup_read: '0', idx_tup_fetch: '0' }]);
      await client.query('rollback');
    } finally {
      client.release(true);
    }
  });
});

describe('the change feed under 16 writers with slow commits', () => {
  const writers = 16;
  const seed = fc.readConfigureGlobal().seed ?? 0;
  const rounds = 25;

  it('tells every change once and the changes of a resource in order, where a reader by sequence loses some', async () => {
    const shared = await Promise.all(['s0', 's1', 's2'].map(async (name) => await putDisk(name)));
    const start = await feedEnd(pool);
    const live = collector();
    await hub.watch(undefined, () => live.watcher);

    let writing = true;
    const bySequence = new Set<string>();
    const naiveReader = (async () => {
      // What must not be done: remember the highest number seen and ask for higher ones.
      let highest = 0n;
      const own = database.connect(1);
      do {
        const { rows } = await own.query<{ seq: string }>('select seq from feed where seq > $1 order by seq', [String(highest)]);
        for (const row of rows) bySequence.add(row.seq);
        highest = BigInt(rows.at(-1)?.seq ?? highest);
      } while (writing);
      await own.end();
    })();
    const polled: FeedEntry[] = [];
    const poller = (async () => {
      for (let at = start; ; ) {
        const last = !writing;
        const { entries } = await readFeed(pool, at, 7);
        polled.push(...entries);
        at = entries.at(-1)?.position ?? at;
        if (last && entries.length === 0) return;
      }
    })();

    const committed: { readonly uid: Id<'resource'>; readonly mark: string }[] = [];
    await Promise.all(
      Array.from({ length: writers }, async (_, writer) => {
        const random = randomFrom(seed * writers + writer + 1);
        const own = await putDisk(`w${writer}`);
        for (let round = 0; round < rounds; round += 1) {
          const mark = `${writer}-${round}`;
          const other = shared[Math.floor(random() * shared.length)] ?? own;
          const before = random() * 6;
          const after = random() * 12;
          await store.transaction(async (tx) => {
            // The transaction has its number now, and its first change; the contended resource comes later.
            await tx.setStatus(own.uid, { mark });
            await rest(before);
            await tx.setStatus(other.uid, { mark });
            await rest(after);
          });
          committed.push({ uid: own.uid, mark }, { uid: other.uid, mark });
        }
      }),
    );
    writing = false;
    await Promise.all([naiveReader, poller]);
    const marks = (entries: readonly FeedEntry[]) =>
      entries
        .filter((entry) => entry.type === 'status')
        .map((entry) => `${entry.uid} ${(entry.resource?.status as { readonly mark?: string } | undefined)?.mark}`);
    await live.until((entries) => marks(entries).length >= committed.length);

    const expected = committed.map(({ uid, mark }) => `${uid} ${mark}`).sort();
    for (const entries of [live.entries, polled]) {
      expect(marks(entries).sort()).toEqual(expected);
      for (const [index, entry] of entries.entries()) {
        const next = entries[index + 1];
        if (next !== undefined) expect(comparePositions(entry.position, next.position)).toBe(-1);
      }
      // In order: each change of a resource stands on the history of the one before, and the last is what is stored now.
      for (const { uid } of shared) {
        const told = entries.filter((entry) => entry.uid === uid).map((entry) => Number(entry.position.seq));
        expect(told).toEqual([...told].sort((left, right) => left - right));
        const last = entries.findLast((entry) => entry.uid === uid);
        expect(last?.resource).toEqual(await store.getByUid(uid));
      }
    }
    const total = Number((await pool.query('select count(*) from feed')).rows[0]?.count);
    expect(bySequence.size).toBeLessThan(total);
  }, 60_000);
});

describe('the change feed', () => {
  it('holds a change back while an older transaction is open, and tells both in order afterwards', async () => {
    const from = await feedEnd(pool);
    const older = await pool.connect();
    await older.query('begin');
    await older.query('select pg_current_xact_id()');
    await putDisk('late');
    expect(await readFeed(pool, from, 10)).toMatchObject({ entries: [], pending: true });
    await older.query('commit');
    older.release();
    const entries = await readAll(from, 1);
    expect(entries.map((entry) => entry.ref)).toEqual(['seca.storage/v1/tenants/acme/workspaces/prod/block-storages/late']);
  });

  it('has a transaction begin again that would tell its change before an older one of the same resource', async () => {
    const { uid } = await putDisk('d1');
    let attempts = 0;
    let younger: Promise<void> | undefined;
    await store.transaction(async (tx) => {
      attempts += 1;
      await tx.client.query('select pg_current_xact_id()');
      younger ??= store.transaction(async (other) => await other.setStatus(uid, { mark: 'younger' }));
      await younger;
      await tx.setStatus(uid, { mark: 'older' });
    });
    expect(attempts).toBe(2);
    const entries = await readAll(beginning, 3);
    expect(entries.map((entry) => (entry.resource?.status as { readonly mark?: string } | undefined)?.mark)).toEqual([
      undefined,
      'younger',
      'older',
    ]);
  });

  it('lets a transaction lose its place but once, however many younger ones come', async () => {
    const { uid } = await putDisk('d1');
    let attempts = 0;
    const younger: Promise<void>[] = [];
    await store.transaction(async (tx) => {
      attempts += 1;
      await tx.client.query('select pg_current_xact_id()');
      const another = store.transaction(async (other) => await other.setStatus(uid, { mark: `younger ${attempts}` }));
      younger.push(another);
      // The first is through at once; the second has to wait for us.
      await Promise.race([another, rest(attempts === 1 ? 10_000 : 300)]);
      await tx.setStatus(uid, { mark: 'older' });
    });
    await Promise.all(younger);
    expect(attempts).toBe(2);
    const entries = await readAll(beginning, 4);
    expect(entries.map((entry) => (entry.resource?.status as { readonly mark?: string } | undefined)?.mark)).toEqual([
      undefined,
      'younger 1',
      'older',
      'younger 2',
    ]);
  });

  it('names what a change of labels left behind', async () => {
    await putDisk('d1', { env: 'prod' });
    await putDisk('d1', { env: 'test' });
    const entries = await readAll(beginning, 2);
    expect(entries.map((entry) => [entry.labels, entry.leftLabels])).toEqual([
      [{ env: 'prod' }, undefined],
      [{ env: 'test' }, { env: 'prod' }],
    ]);
  });

  it('refuses a cursor it no longer reaches back to, or never gave out', async () => {
    const from = await feedEnd(pool);
    for (let index = 0; index < 20; index += 1) await putDisk(`d${index}`);
    await readAll(from, 20);
    await assertOnFeed(pool, from);
    const { feed } = await pruneResources(pool, new Date(), { feedRows: 5 });
    expect(feed).toBe(15);
    await expect(assertOnFeed(pool, from)).rejects.toMatchObject({ kind: 'precondition-failed', facts: { reason: 'cursor-expired' } });
    const entries = await readAll(from, 5);
    expect(entries).toHaveLength(5);
    await assertOnFeed(pool, entries[0]?.position ?? from);
    await expect(assertOnFeed(pool, { xid: 2n ** 40n, seq: 1n })).rejects.toMatchObject({ kind: 'precondition-failed' });
    expect(await pruneResources(pool, new Date(), { feedRows: 5 })).toEqual({ feed: 0, tombstones: 0 });
  });

  it.each(['', '1', '1.', '1.2.3', 'a.b', '-1.2', '99999999999999999999.1', "1.2' or true"])('refuses the cursor %j', (text) => {
    expect(() => positionFromText(text, 'since')).toThrowError(
      expect.objectContaining({ kind: 'invalid-request', sources: [{ parameter: 'since' }] }),
    );
  });

  it('gives a cursor back as it was', () => {
    expect(textFromPosition(positionFromText('12345678901.42', 'since'))).toBe('12345678901.42');
  });
});

describe('the feed hub', () => {
  it('gives the whole past after a cursor and then what comes, to each watcher once', async () => {
    const from = await feedEnd(pool);
    for (let index = 0; index < 30; index += 1) await putDisk(`d${index}`);
    const [late, other] = [collector(), collector()];
    const small = createFeedHub({ pool, log: createRecordedLog(), batch: 4 });
    await small.watch(undefined, () => other.watcher);
    await small.watch(from, () => late.watcher);
    await Promise.all(Array.from({ length: 30 }, async (_, index) => await putDisk(`e${index}`)));
    await late.until((entries) => entries.length >= 60);
    await other.until((entries) => entries.length >= 30);
    expect(new Set(late.entries.map((entry) => entry.ref)).size).toBe(60);
    expect(late.entries).toHaveLength(60);
    expect(other.entries).toHaveLength(30);
    small.stop();
    expect(late.ends).toEqual(['stopping']);
  });

  it('resumes anywhere without losing or doubling', async () => {
    const from = await feedEnd(pool);
    for (let index = 0; index < 20; index += 1) await putDisk(`d${index}`);
    const all = await readAll(from, 20);
    for (const cut of [0, 7, 19]) {
      const rest = collector();
      const leave = await hub.watch(all[cut]?.position, () => rest.watcher);
      await rest.until((entries) => entries.length >= all.length - cut - 1);
      expect(rest.entries.map((entry) => entry.ref)).toEqual(all.slice(cut + 1).map((entry) => entry.ref));
      leave();
    }
  });

  it('lets a watcher that takes no more go, and serves the others', async () => {
    const good = collector();
    let pushes = 0;
    await hub.watch(undefined, () => ({
      push: () => {
        pushes += 1;
        return false;
      },
      fill: async () => true,
      end: () => undefined,
    }));
    await hub.watch(undefined, () => good.watcher);
    await putDisk('d1');
    await good.until((entries) => entries.length === 1);
    await putDisk('d2');
    await good.until((entries) => entries.length === 2);
    expect(pushes).toBe(1);
  });

  it('hears of a change within its own look when the bell is lost, and after its connection was cut', async () => {
    const quick = createFeedHub({ pool, log: createRecordedLog(), lookMs: 50 });
    const seen = collector();
    await quick.watch(undefined, () => seen.watcher);
    await putDisk('d1');
    await seen.until((entries) => entries.length === 1);
    await pool.query(
      `select pg_terminate_backend(pid) from pg_stat_activity where query like 'listen virt8ra_feed%' and datname = current_database()`,
    );
    await putDisk('d2');
    await seen.until((entries) => entries.length === 2);
    await pool.query(`insert into feed (type, kind, uid, ref, labels) values ('progress', 'x', 'res_x', 'r', '{}')`);
    await seen.until((entries) => entries.length === 3);
    quick.stop();
  });

  it('refuses watchers once it is stopped', async () => {
    hub.stop();
    await expect(hub.watch(undefined, () => collector().watcher)).rejects.toMatchObject({ kind: 'unavailable' });
  });

  it('cuts a watcher that falls off the feed while it catches up', async () => {
    const from: FeedPosition = await feedEnd(pool);
    for (let index = 0; index < 12; index += 1) await putDisk(`d${index}`);
    await readAll(from, 12);
    const small = createFeedHub({ pool, log: createRecordedLog(), batch: 2 });
    let pruned: Promise<unknown> | undefined;
    const ended = new Promise<string>((resolve) => {
      void small.watch(from, () => ({
        push: () => true,
        fill: async () => {
          pruned ??= pruneResources(pool, new Date(), { feedRows: 1 });
          await pruned;
          return true;
        },
        end: resolve,
      }));
    });
    expect(await ended).toBe('lost');
    small.stop();
  });
});
