import { generateKeyPairSync } from 'node:crypto';
import { workspace } from '@virt8ra/contract';
import { createLeases, engineMigrations, inTransaction } from '@virt8ra/engine';
import { createRecordedLog, type RecordedLog, startTestPostgres, type TestPostgres } from '@virt8ra/engine/testing';
import type { Pool, PoolClient } from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createStore } from '../resources/create-store.js';
import { resourceMigrations } from '../resources/migrations.js';
import type { Store } from '../resources/store.js';
import { type AuditSigner, createAuditSigner } from './audit-key.js';
import { auditMigrations } from './migrations.js';
import { pruneAudit } from './prune-audit.js';
import { readAudit } from './read-audit.js';
import { beginAuditEra, createSealer, type Sealer, sealerLease } from './sealer.js';
import { verifyAudit } from './verify-audit.js';

let postgres: TestPostgres;
let pool: Pool;
let store: Store;
let log: RecordedLog;
const signerOf = (region = 'eu-test'): AuditSigner => createAuditSigner(region, generateKeyPairSync('ed25519').privateKey);
const signer = signerOf();

beforeAll(async () => {
  postgres = await startTestPostgres();
  ({ pool } = await postgres.createDatabase([...engineMigrations, ...resourceMigrations, ...auditMigrations]));
  pool.options.max = 30;
  store = createStore({ pool, queue: { nudge: async () => undefined } });
}, 60_000);
afterAll(async () => await postgres?.stop());
beforeEach(async () => {
  log = createRecordedLog();
  await pool.query('truncate audit, audit_seal, audit_checkpoint, resource, feed, engine.lease cascade');
});

const sealerNamed = (owner: string, more: { readonly batchRows?: number; readonly pool?: Pool } = {}): Sealer =>
  createSealer({ pool, leases: createLeases({ pool: more.pool ?? pool }), owner, signer, log, ...more });

/** As many rows as asked for, one transaction each, and sealed: any transaction of the cluster may hold some back for a moment. */
async function sealed(count: number): Promise<Sealer> {
  for (let index = 0; index < count; index += 1) await write(`w${index}`);
  const sealer = sealerNamed('one');
  await sealAll(sealer, count);
  return sealer;
}

async function sealAll(sealer: Sealer, count: number): Promise<void> {
  await expect
    .poll(async () => {
      await sealer.seal();
      return Number((await pool.query('select count(*) from audit_seal')).rows[0].count);
    })
    .toBe(count);
}

async function write(name: string): Promise<void> {
  await store.transaction(async (tx) => {
    await tx.audit({
      subject: 'ann',
      remote: '192.0.2.7',
      verb: 'put',
      resource: `seca.workspace/v1/tenants/acme/workspaces/${name}`,
      code: 201,
    });
  });
}

const verify = async () => await verifyAudit(pool, { signer });
const kinds = ({ faults }: Awaited<ReturnType<typeof verify>>): string[] => faults.map(({ kind, position }) => `${kind}@${position}`);
const at = async (position: number): Promise<string> =>
  String((await pool.query('select id from audit_seal where position = $1', [position])).rows[0].id);

describe('what the audit holds', () => {
  it('has what the control plane does of its own, and the owner’s word once', async () => {
    const address = { tenant: 'acme', name: 'prod' };
    const put = async (spec: object, owner: boolean) =>
      await store.transaction(async (tx) => {
        const made = await tx.put({ kind: workspace, address, spec, state: 'active', conditions: [{ state: 'active' }] });
        if (owner)
          await tx.audit({
            subject: 'ann',
            remote: '192.0.2.7',
            verb: 'put',
            resource: 'seca.workspace/v1/tenants/acme/workspaces/prod',
            code: 201,
          });
        return made.uid;
      });
    const uid = await put({}, true);
    await put({ more: true }, false);
    await put({ more: true }, false);
    await store.transaction(async (tx) => await tx.setStatus(uid, { placement: { site: 'gdansk', host: 'h1', cause: 'placement' } }));
    await store.transaction(async (tx) => await tx.setStatus(uid, { seen: 1 }));
    await store.transaction(async (tx) => await tx.markDeleted(uid));
    await store.transaction(async (tx) => await tx.remove(uid));

    const { rows } = await pool.query('select subject, verb, code, before, after, tenant, workspace from audit order by seq');
    const place = { tenant: 'acme', workspace: 'prod' };
    expect(rows).toMatchObject([
      { subject: 'ann', verb: 'put', code: 201, ...place },
      {
        subject: 'virt8ra-server',
        verb: 'put',
        code: 200,
        before: expect.stringMatching(/^version 1 sha256 /),
        after: expect.stringMatching(/^version 2 /),
      },
      { subject: 'virt8ra-server', verb: 'place', before: null, after: 'site gdansk host h1 (placement)' },
      { subject: 'virt8ra-server', verb: 'delete', code: 202, before: expect.stringMatching(/^version 2 /) },
      { subject: 'virt8ra-server', verb: 'remove', ...place },
    ]);
  });

  it('is read newest first, page by page, of a workspace or a resource', async () => {
    await sealed(5);
    const first = await readAudit(pool, { tenant: 'acme', limit: 3, after: undefined });
    const second = await readAudit(pool, { tenant: 'acme', limit: 3, after: first.next });
    expect([...first.items, ...second.items].map(({ resource, position }) => `${resource.slice(-2)} ${position}`)).toEqual(
      [4, 3, 2, 1, 0].map((index) => `w${index} ${index + 1}`),
    );
    expect(second.next).toBeUndefined();
    expect((await readAudit(pool, { tenant: 'acme', workspace: 'w3', limit: 9, after: undefined })).items).toHaveLength(1);
    expect((await readAudit(pool, { tenant: 'other', limit: 9, after: undefined })).items).toEqual([]);
    await expect(readAudit(pool, { limit: 3, after: '1.2' })).rejects.toMatchObject({ kind: 'invalid-request' });
  });
});

describe('the chain', () => {
  it('holds, with its head, when nothing was touched, and tells what waits', async () => {
    await sealed(6);
    await write('late');
    const found = await verify();
    expect(found).toMatchObject({ checked: 6, faultCount: 0, head: { position: 6 }, unsealed: { rows: 1 } });
    const head = { position: 6n, hash: found.head?.hash ?? '' };
    expect((await verifyAudit(pool, { signer, expected: head })).faultCount).toBe(0);
  });

  it.each([
    ['a changed row', async () => `update audit set subject = 'bob' where id = '${await at(3)}'`, ['changed@3']],
    [
      'a time moved by a microsecond',
      async () => `update audit set at = at + interval '1 microsecond' where id = '${await at(3)}'`,
      ['changed@3'],
    ],
    ['a removed row', async () => `delete from audit where id = '${await at(3)}'`, ['removed@3']],
    [
      'a removed row with its seal',
      async () =>
        `with gone as (delete from audit_seal where position = 3 returning id) delete from audit using gone where audit.id = gone.id`,
      ['removed@4'],
    ],
    [
      'an inserted row',
      async () =>
        `insert into audit (id, at, subject, remote, verb, resource, code, xid, seq) overriding system value select 'aud_x', at, 'bob', '', 'put', 'x', 200, xid, seq + 1000000 from audit where id = '${await at(3)}'`,
      ['inserted@3'],
    ],
    [
      'two rows in each other’s place',
      async () =>
        `update audit set id = case id when '${await at(3)}' then '${await at(4)}' else '${await at(3)}' end where id in ('${await at(3)}', '${await at(4)}')`,
      ['moved@3', 'moved@4'],
    ],
    [
      'an end cut off',
      async () =>
        `with gone as (delete from audit_seal where position > 4 returning id) delete from audit using gone where audit.id = gone.id`,
      ['removed@4'],
    ],
    [
      'a beginning cut off',
      async () =>
        `with gone as (delete from audit_seal where position < 3 returning id) delete from audit using gone where audit.id = gone.id`,
      ['removed@0'],
    ],
    ['missing signatures', async () => 'delete from audit_checkpoint', ['unsigned@6']],
    ['a signature of others', async () => `update audit_checkpoint set signature = sha512(signature)`, ['rewritten@6']],
  ])('shows %s, and between which times', async (_title, sql, expected) => {
    await sealed(6);
    await pool.query('alter table audit drop constraint audit_pkey');
    try {
      await pool.query(await sql());
      const found = await verify();
      expect(kinds(found)).toEqual(expected);
      if (found.faults[0]?.kind === 'changed') {
        const { rows } = await pool.query('select at from audit order by seq');
        expect([found.faults[0].after, found.faults[0].before]).toEqual([rows[1].at.toISOString(), rows[3].at.toISOString()]);
      }
    } finally {
      await pool.query('truncate audit');
      await pool.query('alter table audit add primary key (id)');
    }
  });

  it('shows a table that was written anew as a whole, seals and all, with another key or none', async () => {
    await sealed(6);
    await pool.query(`update audit set subject = 'bob'`);
    await pool.query('truncate audit_seal, audit_checkpoint, engine.lease');
    const forger = createSealer({ pool, leases: createLeases({ pool }), owner: 'forger', signer: signerOf(), log });
    await sealAll(forger, 6);
    expect(kinds(await verify())).toEqual(['rewritten@6']);
    await pool.query('truncate audit_checkpoint');
    expect(kinds(await verify())).toEqual(['unsigned@6']);
    expect((await verifyAudit(pool, { signer: signerOf('elsewhere') })).faultCount).toBeGreaterThan(0);
  });

  it('shows an end that was cut off with its signatures to whoever has seen the head', async () => {
    for (let round = 1; round <= 3; round += 1) {
      await write(`w${round}`);
      await sealAll(sealerNamed('one'), round);
    }
    const { head } = await verify();
    await pool.query('delete from audit where id = (select id from audit_seal where position = 3)');
    await pool.query('delete from audit_seal where position = 3');
    await pool.query('delete from audit_checkpoint');
    const [seal] = (await pool.query('select era, xid::text, seq::text, hash from audit_seal where position = 2')).rows;
    const earlier = signer.signed({ role: 'head', position: 2n, ...seal, at: new Date().toISOString() });
    await pool.query('insert into audit_checkpoint values ($1, $2, $3, $4, $5, $6, $7, $8, $9)', [
      2,
      'head',
      seal.era,
      seal.xid,
      seal.seq,
      seal.hash,
      earlier.at,
      earlier.key,
      earlier.signature,
    ]);
    expect((await verify()).faultCount).toBe(0);
    const seen = await verifyAudit(pool, { signer, expected: { position: BigInt(head?.position ?? 0), hash: head?.hash ?? '' } });
    expect(kinds(seen)).toEqual(['removed@3']);
  });

  it('is looked at a part at a time, with the same faults', async () => {
    await sealed(25);
    await pool.query('update audit set code = 403 where id = any($1)', [[await at(5), await at(15), await at(25)]]);
    const seen: string[] = [];
    let after = 0n;
    for (let parts = 1; ; parts += 1) {
      const part = await verifyAudit(pool, { signer, after, limit: 10 });
      seen.push(...kinds(part));
      if (part.next === undefined) {
        expect([parts, part.checked]).toEqual([3, 5]);
        break;
      }
      after = BigInt(part.next);
    }
    expect(seen).toEqual(['changed@5', 'changed@15', 'changed@25']);
  });
});

describe('the sealer', () => {
  it('leaves nothing out and holds while sixteen write, whatever the order of their commits', async () => {
    const sealers = ['one', 'two', 'three'].map((owner) => sealerNamed(owner, { batchRows: 7 }));
    let writing = true;
    const sealing = sealers.map(async (sealer) => {
      while (writing) await sealer.seal().catch(() => undefined);
    });
    await Promise.all(
      Array.from({ length: 16 }, async (_, writer) => {
        for (let turn = 0; turn < 12; turn += 1) {
          const clientFirst = writer % 3 === 0;
          await store.transaction(async (tx) => {
            const row = { subject: `s${writer}`, remote: '', verb: 'put', resource: `x/tenants/acme/workspaces/w${turn}`, code: 200 };
            await tx.audit(row);
            // Some stay open while younger ones commit.
            if (clientFirst) await tx.client.query('select pg_sleep($1)', [((writer + turn) % 5) / 200]);
            await tx.audit(row);
          });
        }
      }),
    );
    writing = false;
    await Promise.all(sealing);
    const holder = sealers.find(Boolean) as Sealer;
    await pool.query('truncate engine.lease');
    await sealAll(holder, 16 * 12 * 2);
    expect(await verify()).toMatchObject({ checked: 384, faultCount: 0, unsealed: { rows: 0 } });
  });

  it('is one at a time, and one that is killed in the middle of a batch leaves nothing of it', async () => {
    for (let index = 0; index < 30; index += 1) await write(`w${index}`);
    const blocker: PoolClient = await pool.connect();
    await blocker.query('begin; lock table audit_checkpoint in share row exclusive mode');
    const killed = sealerNamed('killed')
      .seal()
      .catch((error: unknown) => error);
    // Seals are written, the checkpoint is not: now the server dies.
    await expect
      .poll(async () => {
        const { rows } = await pool.query(
          `select pg_terminate_backend(pid) from pg_stat_activity where wait_event_type = 'Lock' and query like 'insert into audit_checkpoint%'`,
        );
        return rows.length;
      })
      .toBe(1);
    expect(await killed).toBeInstanceOf(Error);
    await blocker.query('rollback');
    blocker.release();
    expect((await pool.query('select 1 from audit_seal')).rowCount).toBe(0);

    const next = sealerNamed('next', { batchRows: 8 });
    expect(await next.seal()).toBeUndefined();
    await pool.query('update engine.lease set lease_until = now() where name = $1', [sealerLease]);
    await sealAll(next, 30);
    expect(await verify()).toMatchObject({ checked: 30, faultCount: 0 });
  });

  it('seals nothing any more once another has taken over', async () => {
    const paused = await sealed(2);
    await pool.query('update engine.lease set lease_until = now() where name = $1', [sealerLease]);
    await write('more');
    await sealAll(sealerNamed('other'), 3);
    await write('last');
    await expect(paused.seal()).rejects.toThrow(/lease/);
    expect(await paused.seal()).toBeUndefined();
    expect((await verify()).faultCount).toBe(0);
  });

  it('goes on behind the chain in a database that was restored, where ids of transactions begin anew', async () => {
    await sealed(3);
    await pool.query(`update audit set xid = (xid::text::bigint + 4000000000)::text::xid8`);
    await pool.query('truncate audit_seal, audit_checkpoint');
    const { rows } = await pool.query('select count(*) from audit where xid >= pg_snapshot_xmax(pg_current_snapshot())');
    expect(Number(rows[0].count)).toBe(3);
    expect(await inTransaction(pool, beginAuditEra)).toBe(true);
    await write('after');
    expect(await inTransaction(pool, beginAuditEra)).toBe(false);
    await sealAll(sealerNamed('one'), 4);
    expect((await pool.query('select era from audit_seal order by position')).rows.map(({ era }) => era)).toEqual([0, 0, 0, 1]);
    expect((await verify()).faultCount).toBe(0);
    await pool.query('alter table audit alter column era set default 0');
  });
});

describe('what is too old', () => {
  const retention = { keepSeconds: 3600, batchRows: 5 };
  const old = async (count: number) =>
    await pool.query(
      `insert into audit (id, at, subject, remote, verb, resource, code)
       select 'aud_' || lpad(step::text, 26, '0'), now() - interval '2 hours', 'ann', '', 'put', 'x/tenants/acme', 200 from generate_series(1, $1::int) as step`,
      [count],
    );

  it('is cut off under signature, a batch at a time, and the rest holds', async () => {
    await old(12);
    await write('young');
    const sealer = sealerNamed('one');
    await sealAll(sealer, 13);
    expect(await pruneAudit(pool, new Date(), { signer, log, ...retention })).toBe(5);
    expect(await pruneAudit(pool, new Date(), { signer, log, ...retention })).toBe(5);
    expect(await pruneAudit(pool, new Date(), { signer, log, ...retention })).toBe(2);
    expect(await pruneAudit(pool, new Date(), { signer, log, ...retention })).toBe(0);
    await sealAll(sealer, 4);
    expect(await verify()).toMatchObject({ checked: 4, faultCount: 0, cut: { position: 12 }, head: { position: 16 } });
    const { items } = await readAudit(pool, { limit: 9, after: undefined });
    expect(items.filter(({ verb }) => verb === 'cut')).toHaveLength(3);

    await pool.query(`delete from audit_checkpoint where role = 'cut'`);
    expect(kinds(await verify())).toEqual(['removed@0']);
  });

  it('is kept as evidence when it does not hold', async () => {
    await old(4);
    await write('young');
    await sealAll(sealerNamed('one'), 5);
    await pool.query(`update audit set subject = 'bob' where id = $1`, [await at(2)]);
    expect(await pruneAudit(pool, new Date(), { signer, log, ...retention })).toBe(0);
    expect(kinds(await verify())).toEqual(['changed@2']);
  });
});

describe('a hundred thousand rows', { timeout: 120_000 }, () => {
  it('are sealed in batches and verified in flat memory', async () => {
    await pool.query(
      `insert into audit (id, at, subject, remote, verb, resource, code)
       select 'aud_' || lpad(step::text, 26, '0'), now(), 'ann', '192.0.2.7', 'put', 'seca.compute/v1/tenants/acme/workspaces/prod/instances/i' || step, 200
       from generate_series(1, 100000) as step`,
    );
    await sealAll(sealerNamed('one', { batchRows: 5000 }), 100_000);
    expect(Number((await pool.query('select count(*) from audit_checkpoint')).rows[0].count)).toBeLessThanOrEqual(101);
    globalThis.gc?.();
    const before = process.memoryUsage().heapUsed;
    let highest = 0;
    const watch = setInterval(() => {
      highest = Math.max(highest, process.memoryUsage().heapUsed - before);
    }, 20);
    const found = await verify();
    clearInterval(watch);
    expect(found).toMatchObject({ checked: 100_000, faultCount: 0 });
    // All rows at once would be far beyond it.
    expect(highest).toBeLessThan(64 * 1024 * 1024);
  });
});
