import { hasPostgres, startTestPostgres, type TestDatabase } from '@virt8ra/engine/testing';
import { afterAll, beforeAll } from 'vitest';
import { fleetMigrations } from '../migrations.js';

/** Whether PostgreSQL is there at all; says so when it is not. */
export async function postgresIsThere(): Promise<boolean> {
  if ((await hasPostgres('debian')) || (await hasPostgres('embedded'))) return true;
  process.stdout.write('skipped: PostgreSQL is not installed\n');
  return false;
}

/** One PostgreSQL for the suite it is called in; each call of the answer makes a fresh database with the fleet's schema. */
export function useFleetDatabase(): () => Promise<TestDatabase> {
  let postgres: Awaited<ReturnType<typeof startTestPostgres>> | undefined;
  beforeAll(async () => {
    postgres = await startTestPostgres();
  }, 60_000);
  afterAll(async () => await postgres?.stop());
  return async () => {
    if (postgres === undefined) throw new Error('PostgreSQL was not started');
    return await postgres.createDatabase(fleetMigrations);
  };
}
