import { createRunner, engineMigrations, type RunHistory } from '@virt8ra/engine';
import { createRecordedLog, expectTorture, startTestPostgres, type TestDatabase, type TestPostgres } from '@virt8ra/engine/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { resourceMigrations } from '../../resources/migrations.js';
import { type BackupWorld, createBackupWorld } from './testing/backup-world.js';

let postgres: TestPostgres;
let database: TestDatabase;

beforeAll(async () => {
  postgres = await startTestPostgres();
  database = await postgres.createDatabase([...engineMigrations, ...resourceMigrations]);
});
afterAll(async () => await postgres?.stop());

async function run(world: BackupWorld): Promise<RunHistory> {
  const backoff = { baseSeconds: 0.001, capSeconds: 0.001 };
  const runner = createRunner({ pool: database.pool, workflows: [world.workflow], log: createRecordedLog(), owner: 'test', backoff });
  try {
    const runId = await runner.start(world.workflow, { subject: `backup/${world.input.backup}`, input: world.input });
    for (let turn = 0; turn < 40; turn += 1) {
      await runner.queue.work(`run/${runId}`);
      const history = await runner.get(runId);
      if (history?.endedAt !== undefined) return history;
      await world.proceed?.();
    }
    throw new Error('it does not end');
  } finally {
    await runner.queue.stop({ abandon: true });
  }
}

describe('a backup', () => {
  it('ends with its content in the artifact store and nothing at its host', async () => {
    const world = await createBackupWorld(database.pool);
    expect((await run(world)).state).toBe('done');
    expect(await world.snapshot()).toMatchObject({
      state: 'active',
      status: {
        phase: 'done',
        consistency: 'crash',
        takenAt: '2026-01-01T00:00:00.000Z',
        volumes: [
          {
            blockStorageRef: { resource: expect.stringContaining('block-storages/disk') },
            sizeBytes: 2_000_683_008,
            sha256: expect.any(String),
          },
        ],
      },
      ledger: 0,
      objects: 0,
      incoming: [],
      images: [expect.stringMatching(/^[0-9a-f]{64}$/), expect.stringMatching(/\.json$/)],
    });
    await world.close();
  });

  it.each([
    { honesty: 'spoils what it sends' as const, message: /not what was announced/ },
    { honesty: 'has no room' as const, message: /its disk is full/ },
  ])('comes to nothing, with the reason, when its host $honesty', async ({ honesty, message }) => {
    const world = await createBackupWorld(database.pool, honesty);
    const before = await world.snapshot();
    expect(await run(world)).toMatchObject({ state: 'undone', problem: { message: expect.stringMatching(message) } });
    expect(await world.snapshot()).toEqual(before);
    await world.close();
  });

  it('withstands every fault at every step', async () => {
    await expectTorture({ pool: database.pool, world: async () => await createBackupWorld(database.pool) });
  }, 180_000);
});
