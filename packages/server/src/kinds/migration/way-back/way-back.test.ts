import { engineMigrations } from '@virt8ra/engine';
import { expectTorture, startTestPostgres, type TestDatabase, type TestPostgres } from '@virt8ra/engine/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { capacityMigrations } from '../../../capacity/claims.js';
import { resourceMigrations } from '../../../resources/migrations.js';
import { instanceMigrations } from '../../instance/index.js';
import { createKeptWorld, type KeptOptions } from '../testing/kept-world.js';
import type { MigrationWorld } from '../testing/migration-world.js';

let postgres: TestPostgres;
let database: TestDatabase;

beforeAll(async () => {
  postgres = await startTestPostgres();
  database = await postgres.createDatabase([...engineMigrations, ...resourceMigrations, ...capacityMigrations, ...instanceMigrations]);
});
afterAll(async () => await postgres?.stop());

const kept = async (options: KeptOptions): Promise<MigrationWorld> => await createKeptWorld(database.pool, options);

describe('a way back under attack', () => {
  it('flows until a return is asked for, and leaves nothing when it is called off', async () => {
    const report = await expectTorture({
      pool: database.pool,
      world: async () => await kept({ workflow: 'flow', askAfter: 9 }),
    });
    expect(report.points.map(({ name }) => name)).toEqual(['plan', 'prepare-target', 'listening', 'start-copy', 'flowing']);
  }, 300_000);

  it('returns warm, whatever fails on the way, or is where it was with its disks retained', async () => {
    const report = await expectTorture({
      pool: database.pool,
      only: ['repeated', 'fails after', 'crash after', 'cancelled after', 'undo repeated'],
      world: async () => await kept({ workflow: 'move', asked: 'return', mode: 'warm' }),
    });
    expect(report.points.map(({ name }) => name)).toEqual(
      expect.arrayContaining(['proven', 'cleaned', 'give-up-retained', 'retained-gone']),
    );
  }, 300_000);

  it('is given up for good, whatever fails on the way', async () => {
    const report = await expectTorture({ pool: database.pool, world: async () => await kept({ workflow: 'release', asked: 'release' }) });
    expect(report.points.map(({ name }) => name)).toEqual(['given-up', 'give-up-retained', 'retained-gone', 'finish']);
  }, 300_000);
});
