import { deliveriesKept, type WebhookDelivery } from '@virt8ra/contract';
import type { Pool } from 'pg';
import type { StoredResource } from '../../resources/stored-resource.js';
import type { WebhookFacts } from '../../webhooks/webhook-rows.js';

interface StateRow {
  readonly uid: string;
  readonly owner: string;
  readonly secret_at: Date;
  readonly previous_until: Date | null;
  readonly position: string;
  readonly facts: WebhookFacts;
}

interface DeliveryRow {
  readonly uid: string;
  readonly id: string;
  readonly type: string;
  readonly ref: string | null;
  readonly at: Date;
  readonly attempts: number;
  readonly delivered: boolean;
  readonly answer: number | null;
  readonly milliseconds: number;
  readonly problem: string | null;
}

/** What was seen of each, of its secrets nothing but their age. Two questions for a page. */
export async function presentWebhooks(
  pool: Pool,
  resources: readonly Pick<StoredResource, 'uid'>[],
  now: Date,
): Promise<readonly object[]> {
  const uids = resources.map(({ uid }) => uid);
  const states = await pool.query<StateRow>({
    name: 'webhook-present',
    text: `select uid, owner ->> 'name' as owner, secret_at, previous_until, xid::text || '.' || seq as position, facts
      from webhook_state where uid = any($1)`,
    values: [uids],
  });
  const deliveries = await pool.query<DeliveryRow>({
    name: 'webhook-present-deliveries',
    text: 'select uid, id, type, ref, at, attempts, delivered, answer, milliseconds, problem from webhook_delivery where uid = any($1) order by number desc',
    values: [uids],
  });
  const byUid = new Map(states.rows.map((row) => [row.uid, row]));
  return uids.map((uid) => {
    const row = byUid.get(uid);
    if (row === undefined) return {};
    const { retryAt, lost: _, ...facts } = row.facts;
    const until = row.previous_until !== null && row.previous_until > now ? { previousUntil: row.previous_until.toISOString() } : {};
    return {
      ...facts,
      owner: row.owner,
      secret: { since: row.secret_at.toISOString(), ...until },
      position: row.position,
      ...(retryAt === undefined ? {} : { nextAttemptAt: retryAt }),
      deliveries: deliveries.rows
        .filter((each) => each.uid === uid)
        .slice(0, deliveriesKept)
        .map(deliveryFrom),
    };
  });
}

function deliveryFrom({ id, type, ref, at, attempts, delivered, answer, milliseconds, problem }: DeliveryRow): WebhookDelivery {
  return {
    id,
    type,
    ...(ref === null || ref === '' ? {} : { ref }),
    at: at.toISOString(),
    attempts,
    delivered,
    ...(answer === null ? {} : { answer }),
    milliseconds,
    ...(problem === null ? {} : { problem }),
  };
}
