import { type BackupSpec, Problem } from '@virt8ra/contract';
import { engineMigrations, type RunHistory, type Runner } from '@virt8ra/engine';
import { createRecordedLog, startTestPostgres, type TestDatabase, type TestPostgres } from '@virt8ra/engine/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { resourceMigrations } from '../../resources/migrations.js';
import { type BackupStatus, createBackupBehaviour } from './index.js';
import { createBackupWorld } from './testing/backup-world.js';

let postgres: TestPostgres;
let database: TestDatabase;

beforeAll(async () => {
  postgres = await startTestPostgres();
  database = await postgres.createDatabase([...engineMigrations, ...resourceMigrations]);
});
afterAll(async () => await postgres?.stop());

describe('a backup that is done', () => {
  it('stays so when its run is stuck at the host’s part, and takes that away when it is deleted', async () => {
    const world = await createBackupWorld(database.pool);
    const { store } = world.context;
    const uid = world.input.backup;
    const stuck = { id: 'run-1', state: 'stuck', stuck: new Problem('unavailable', 'its host is away') } as unknown as RunHistory;
    const runner = { start: async () => 'run-1', get: async () => stuck, nudge: async () => undefined } as unknown as Runner;
    const behaviour = createBackupBehaviour({ ...world.context, runner, log: createRecordedLog() }, world.workflow);
    const reconcile = async () => {
      const found = await store.getByUid<BackupSpec, BackupStatus>(uid);
      return found === undefined ? undefined : await behaviour.reconcile?.(found);
    };
    await store.transaction(async (tx) => {
      const { id, key } = await tx.ledger.intend({ resourceUid: uid, role: 'primary', facet: 'backups', site: 'here', host: 'h1' });
      const facet = (await world.context.sites.connectionOf('here')).backups;
      const handle = await facet?.create({ host: 'h1', volumes: [] }, key);
      if (handle !== undefined) await tx.ledger.confirm(id, handle);
      await tx.setStatus(uid, { phase: 'done' }, { state: 'active', type: 'BackedUp', reason: 'Done' });
    });
    expect(await reconcile()).toEqual({ done: true });
    expect((await store.getByUid<BackupSpec, BackupStatus>(uid))?.status.phase).toBe('done');

    await store.transaction(async (tx) => await tx.markDeleted(uid));
    expect(await reconcile()).toMatchObject({ reason: expect.stringContaining('waiting for h1 at here') });
    await world.proceed?.();
    expect(await reconcile()).toEqual({ gone: true });
    expect(await store.getByUid(uid)).toBeUndefined();
    await world.close();
  });
});
