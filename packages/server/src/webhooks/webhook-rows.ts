import type { WebhookDelivery, WebhookSpec } from '@virt8ra/contract';
import type { Pool, PoolClient } from 'pg';
import type { Subject } from '../kinds/behaviour.js';
import type { FeedPosition } from '../resources/feed-position.js';

type On = Pick<Pool, 'query'> | Pick<PoolClient, 'query'>;

/** Whose eyes a webhook has. */
export type WebhookOwner = Omit<Subject, 'remote'>;

/** What was seen of the receiver. Times are ISO texts. */
export interface WebhookFacts {
  readonly failures: number;
  readonly failingSince?: string;
  readonly retryAt?: string;
  readonly suspended?: { readonly since: string; readonly why: string };
  readonly lastDeliveredAt?: string;
  readonly lastAttempt?: { readonly at: string; readonly answer?: number; readonly problem?: string };
  readonly pending?: { readonly id: string; readonly since: string };
  /** Changes that the feed no longer held when they were to be delivered; told to the receiver before anything else. */
  readonly lost?: { readonly since?: string; readonly until: string };
}

export interface WebhookRow {
  readonly uid: string;
  readonly version: string;
  readonly tenant: string;
  readonly name: string;
  readonly spec: WebhookSpec;
  readonly owner: WebhookOwner;
  /** Of an owner that is a service account: its resource. */
  readonly account: string | undefined;
  /** Sealed. */
  readonly secrets: readonly string[];
  readonly position: FeedPosition;
  readonly facts: WebhookFacts;
}

/** Something that somebody asked for: a test, or a change again. */
export interface Asked {
  readonly number: string;
  readonly id: string;
  readonly position: FeedPosition | undefined;
}

/** One delivery as it is kept. */
export interface KeptDelivery extends WebhookDelivery {
  readonly position: FeedPosition | undefined;
}

interface Row {
  readonly uid: string;
  readonly version: string;
  readonly tenant: string;
  readonly name: string;
  readonly spec: WebhookSpec;
  readonly owner: WebhookOwner;
  readonly account: string | null;
  readonly secret: string;
  readonly previous_secret: string | null;
  readonly previous_until: Date | null;
  readonly xid: string;
  readonly seq: string;
  readonly facts: WebhookFacts;
}

/** Undefined: it is gone, or going. */
export async function readWebhook(on: On, uid: string, now: Date): Promise<WebhookRow | undefined> {
  const { rows } = await (on as Pool).query<Row>({
    name: 'webhook-read',
    text: `select uid, version::text, tenant, name, spec, owner, account, secret, previous_secret, previous_until, xid::text, seq::text, facts
      from webhook_state join resource using (uid) where uid = $1 and deleted_at is null`,
    values: [uid],
  });
  const [row] = rows;
  if (row === undefined) return undefined;
  const { tenant, name, version, spec, owner, account, secret, previous_secret: previous, previous_until: until, facts } = row;
  const secrets = previous === null || until === null || until <= now ? [secret] : [secret, previous];
  const position = { xid: BigInt(row.xid), seq: BigInt(row.seq) };
  return { uid, version, tenant, name, spec, owner, account: account ?? undefined, secrets, position, facts };
}

/** Whether nobody has changed it since it was read. */
export async function isUnchanged(on: On, { uid, version }: Pick<WebhookRow, 'uid' | 'version'>): Promise<boolean> {
  const { rowCount } = await (on as Pool).query({
    name: 'webhook-unchanged',
    text: 'select 1 from webhook_state join resource using (uid) where uid = $1 and version = $2 and deleted_at is null',
    values: [uid, version],
  });
  return rowCount === 1;
}

/** False: somebody has changed it since it was read, and nothing was written. */
export async function writeProgress(
  client: Pick<PoolClient, 'query'>,
  { uid, version }: Pick<WebhookRow, 'uid' | 'version'>,
  { position, facts }: Pick<WebhookRow, 'position' | 'facts'>,
): Promise<boolean> {
  const { rowCount } = await client.query({
    name: 'webhook-progress',
    text: 'update webhook_state set version = version + 1, xid = $3::xid8, seq = $4, facts = $5 where uid = $1 and version = $2',
    values: [uid, version, String(position.xid), String(position.seq), JSON.stringify(facts)],
  });
  return rowCount === 1;
}

/** The newest are kept. */
export async function keepDeliveries(
  client: Pick<PoolClient, 'query'>,
  uid: string,
  made: readonly KeptDelivery[],
  kept: number,
): Promise<void> {
  if (made.length === 0) return;
  await client.query({
    name: 'webhook-deliveries',
    text: `insert into webhook_delivery as held (uid, id, type, ref, xid, seq, at, attempts, delivered, answer, milliseconds, problem)
      select $1, id, type, ref, xid::xid8, seq::bigint, at, attempts, delivered, answer, milliseconds, problem
      from jsonb_to_recordset($2) as made (id text, type text, ref text, xid text, seq text, at timestamptz, attempts integer,
        delivered boolean, answer integer, milliseconds integer, problem text)
      on conflict (uid, id) do update set number = excluded.number, at = excluded.at, attempts = held.attempts + excluded.attempts,
        delivered = held.delivered or excluded.delivered, answer = excluded.answer, milliseconds = excluded.milliseconds, problem = excluded.problem`,
    values: [
      uid,
      JSON.stringify(
        made.slice(-kept).map(({ position, ...delivery }) => ({
          ...delivery,
          xid: position && String(position.xid),
          seq: position && String(position.seq),
        })),
      ),
    ],
  });
  await client.query(
    `delete from webhook_delivery where uid = $1
      and number <= (select number from webhook_delivery where uid = $1 order by number desc offset $2 limit 1)`,
    [uid, kept],
  );
}

export async function readAsked(on: On, uid: string): Promise<readonly Asked[]> {
  const { rows } = await (on as Pool).query<{ number: string; id: string; xid: string | null; seq: string | null }>({
    name: 'webhook-asked',
    text: 'select number::text, id, xid::text, seq::text from webhook_asked where uid = $1 order by webhook_asked.number limit 20',
    values: [uid],
  });
  return rows.map(({ number, id, xid, seq }) => ({
    number,
    id,
    position: xid === null || seq === null ? undefined : { xid: BigInt(xid), seq: BigInt(seq) },
  }));
}
