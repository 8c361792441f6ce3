/** For tests only: a real PostgreSQL, and the suite that attacks workflows. */
export { startTestPostgres, type TestDatabase, type TestPostgres, type TestPostgresOptions } from './postgres.js';
export { hasPostgres } from './postgres-binaries.js';
export { createRecordedLog, type RecordedLog } from './recorded-log.js';
export { expectTorture, type TortureOptions, type TortureReport, type TortureWorld, torture, type Violation } from './torture.js';
export type { Point } from './torture-faults.js';
