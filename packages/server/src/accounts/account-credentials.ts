import type { Id } from '@virt8ra/contract';
import type { Settings } from '@virt8ra/driver';
import type { Migration } from '@virt8ra/engine';
import type { Pool, PoolClient } from 'pg';
import type { SecretBox } from '../secrets/secret-box.js';

/** Beside the resource: never shown, and gone with it. */
export const credentialMigrations: readonly Migration[] = [
  {
    name: '0001-account-credentials',
    sql: `
create table account_credentials (
  uid text collate "C" primary key references resource (uid) on delete cascade,
  -- Counted by every change, so that connections are opened anew.
  version bigint not null default 1,
  -- Sealed with the key in STATE/identity.
  sealed text not null,
  since timestamptz not null
)`,
  },
];

type Uid = Id<'resource'>;

/** What accounts show their provider, sealed for the one they are of. */
export interface AccountCredentials {
  put(client: Pick<PoolClient, 'query'>, uid: Uid, values: Settings): Promise<void>;
  /** Undefined: it has none. Raises `internal` when they were sealed with another key. */
  read(uid: Uid): Promise<Settings | undefined>;
  /** Another one after every change; 0: it has none. */
  version(uid: Uid): Promise<number>;
  /** When they were given (RFC 3339), of those that have some. */
  since(uids: readonly Uid[]): Promise<ReadonlyMap<string, string>>;
}

export function createAccountCredentials(
  pool: Pick<Pool, 'query'>,
  box: SecretBox,
  now: () => Date = () => new Date(),
): AccountCredentials {
  return {
    async put(client, uid, values) {
      await client.query(
        `insert into account_credentials as held (uid, sealed, since) values ($1, $2, $3)
         on conflict (uid) do update set version = held.version + 1, sealed = excluded.sealed, since = excluded.since`,
        [uid, box.seal(JSON.stringify(values), uid), now()],
      );
    },
    async read(uid) {
      const { rows } = await pool.query<{ sealed: string }>('select sealed from account_credentials where uid = $1', [uid]);
      const [row] = rows;
      return row === undefined ? undefined : (JSON.parse(box.open(row.sealed, uid)) as Settings);
    },
    async version(uid) {
      const { rows } = await pool.query<{ version: string }>('select version from account_credentials where uid = $1', [uid]);
      return Number(rows[0]?.version ?? 0);
    },
    async since(uids) {
      const { rows } = await pool.query<{ uid: string; since: Date }>('select uid, since from account_credentials where uid = any($1)', [
        uids,
      ]);
      return new Map(rows.map(({ uid, since }) => [uid, since.toISOString()]));
    },
  };
}
