/** Webhook: what is wanted, whose eyes it has, and its secrets. Delivering is the work queue's. */
import { isIP } from 'node:net';
import {
  accountSubjectPrefix,
  type Kind,
  newId,
  Problem,
  serviceAccount,
  toProblem,
  type WebhookDelivery,
  type WebhookSpec,
  webhook,
  webhooksOfTenant,
} from '@virt8ra/contract';
import type { WorkQueue } from '@virt8ra/engine';
import type { Pool } from 'pg';
import type { Egress } from '../../outbound/egress.js';
import { feedEnd } from '../../resources/feed.js';
import type { StoreTransaction } from '../../resources/store.js';
import type { StoredResource } from '../../resources/stored-resource.js';
import type { SecretBox } from '../../secrets/secret-box.js';
import { webhookWork } from '../../webhooks/bell.js';
import { interestOf } from '../../webhooks/interest.js';
import { isSecret, newSecret } from '../../webhooks/signature.js';
import type { WebhookOwner } from '../../webhooks/webhook-rows.js';
import type { KindBehaviour, Subject } from '../behaviour.js';
import { presentWebhooks } from './present.js';

export interface WebhookStatus {
  readonly deliveries?: readonly WebhookDelivery[];
}

export interface WebhookParts {
  readonly pool: Pool;
  readonly queue: Pick<WorkQueue, 'nudge'>;
  readonly box: SecretBox;
  readonly egress: Egress;
  readonly allowHttp: boolean;
  readonly kinds: readonly Kind[];
  readonly now: () => Date;
}

type Webhook = StoredResource<WebhookSpec, WebhookStatus>;

const overlapSeconds = 24 * 3600;
const mostAsked = 20;

export function createWebhookBehaviour(parts: WebhookParts): KindBehaviour<WebhookSpec, WebhookStatus> {
  const { pool, queue, box, now } = parts;
  const kinds = new Map(parts.kinds.map((kind) => [kind.kind, kind]));
  const wake = async (tx: StoreTransaction, { uid, address }: Pick<Webhook, 'uid' | 'address'>): Promise<void> =>
    await queue.nudge(`${webhookWork}/${uid}`, address.tenant === undefined ? {} : { lane: address.tenant }, tx.client);
  return {
    kind: webhook,
    async admitPut(tx, { address, next, previous, subject }) {
      const { tenant = '' } = address;
      assertUrl(next.spec.url, parts);
      for (const [at, kind] of (next.spec.kinds ?? []).entries())
        if (!kinds.has(kind)) throw wrong(`/spec/kinds/${at}`, `is ${kind}, which is no kind; known are ${[...kinds.keys()].join(', ')}`);
      interestOf(tenant, next.spec, kinds);
      if (previous === undefined) await assertRoom(tx, tenant);
      await accountOf(tx, subject);
      return { outcome: 'active', type: 'Delivering', reason: 'Delivering' };
    },
    async afterPut(tx, resource, { subject, previous }) {
      const position = await feedEnd(tx.client);
      const account = await accountOf(tx, subject);
      await tx.client.query(
        `insert into webhook_state as held (uid, owner, account, secret, secret_at, xid, seq, facts)
         values ($1, $2, $3, $4, $5, $6::xid8, $7, '{"failures": 0}')
         on conflict (uid) do update set version = held.version + 1, owner = excluded.owner, account = excluded.account,
           facts = held.facts - 'suspended' - 'retryAt' - 'failingSince' || '{"failures": 0}'`,
        [
          resource.uid,
          JSON.stringify(ownerFrom(subject)),
          account ?? null,
          // Of an existing one the secret stays.
          previous === undefined ? box.seal(newSecret(), resource.uid) : '',
          now(),
          String(position.xid),
          String(position.seq),
        ],
      );
      await wake(tx, resource);
    },
    actions: {
      async secret(tx, { uid }, _subject, body) {
        const given = body as { readonly secret?: string; readonly overlapSeconds?: number };
        if (given.secret !== undefined && !isSecret(given.secret))
          throw new Problem('validation', '/secret must be whsec_ and 24 to 64 bytes in base64', { sources: [{ pointer: '/secret' }] });
        const secret = given.secret ?? newSecret();
        const until = new Date(now().getTime() + (given.overlapSeconds ?? overlapSeconds) * 1000);
        await tx.client.query(
          `update webhook_state set version = version + 1, previous_secret = secret, previous_until = $3, secret = $2, secret_at = $4 where uid = $1`,
          [uid, box.seal(secret, uid), until, now()],
        );
        return { secret, previousUntil: until.toISOString() };
      },
      async test(tx, resource) {
        const id = `test-${newId('resource', now().getTime()).slice(4)}`;
        await ask(tx, resource, id, null);
        await wake(tx, resource);
        return { id };
      },
      async redeliver(tx, resource, _subject, body) {
        const { id } = body as { readonly id: string };
        const { rows } = await tx.client.query<{ xid: string | null; seq: string | null }>(
          'select xid::text, seq::text from webhook_delivery where uid = $1 and id = $2',
          [resource.uid, id],
        );
        const [row] = rows;
        if (row === undefined)
          throw new Problem('not-found', `webhook ${resource.address.name} has no delivery ${id} among its last ones`, {
            sources: [{ pointer: '/id' }],
          });
        if (row.xid === null || row.seq === null)
          throw new Problem('conflict', `${id} was a test; ask for another one with the action test`);
        await ask(tx, resource, id, { xid: row.xid, seq: row.seq });
        await wake(tx, resource);
        return { id };
      },
      async resume(tx, resource, subject, body) {
        const { from = 'position', own = false } = body as { readonly from?: 'position' | 'now'; readonly own?: boolean };
        const { rows } = await tx.client.query<{ suspended: boolean }>(
          `select facts ? 'suspended' as suspended from webhook_state where uid = $1 for update`,
          [resource.uid],
        );
        const end = from === 'now' ? await feedEnd(tx.client) : undefined;
        await tx.client.query(
          `update webhook_state set version = version + 1, xid = coalesce($2::xid8, xid), seq = coalesce($3, seq),
             owner = coalesce($4::jsonb, owner), account = case when $4 is null then account else $5 end,
             facts = facts - 'suspended' - 'retryAt' - 'failingSince' - $6 || '{"failures": 0}' where uid = $1`,
          [
            resource.uid,
            end === undefined ? null : String(end.xid),
            end === undefined ? null : String(end.seq),
            own ? JSON.stringify(ownerFrom(subject)) : null,
            own ? ((await accountOf(tx, subject)) ?? null) : null,
            // What is skipped waits no more.
            end === undefined ? '' : 'pending',
          ],
        );
        if (rows[0]?.suspended === true || resource.state === 'error')
          await tx.setStatus(resource.uid, {}, { state: 'active', type: 'Delivering', reason: 'Resumed' });
        await wake(tx, resource);
      },
    },
    present: async (_reader, resources) => await presentWebhooks(pool, resources, now()),
  };
}

function assertUrl(text: string, { egress, allowHttp }: WebhookParts): void {
  const pointer = '/spec/url';
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || (url.protocol !== 'https:' && url.protocol !== 'http:')) throw wrong(pointer, 'is no https URL');
  if (url.protocol === 'http:' && !allowHttp)
    throw wrong(pointer, 'must begin with https://; the operator may allow http (webhooks.allowHttp)');
  if (url.username !== '' || url.password !== '') throw wrong(pointer, 'must not hold a user or a password: it is stored and shown');
  if (url.hash !== '') throw wrong(pointer, 'must not have a fragment');
  const host = url.hostname.replace(/^\[|\]$/g, '');
  try {
    if (isIP(host) !== 0) egress.assertAddress(host);
  } catch (error) {
    throw new Problem('validation', toProblem(error).message, { sources: [{ pointer }] });
  }
}

/** Those who make one at the same moment follow each other. */
async function assertRoom(tx: StoreTransaction, tenant: string): Promise<void> {
  await tx.client.query(`select pg_advisory_xact_lock(hashtextextended('webhooks ' || $1, 0))`, [tenant]);
  const used = await tx.count(webhook, { tenant });
  if (used >= webhooksOfTenant)
    throw new Problem('exhausted', `tenant ${tenant} may have ${webhooksOfTenant} webhooks; delete one`, {
      facts: { limit: webhooksOfTenant, used },
    });
}

/** The uid of a service account that asks: what is made anew under its name is another. */
async function accountOf(tx: StoreTransaction, { name }: Subject): Promise<string | undefined> {
  if (!name.startsWith(accountSubjectPrefix)) return undefined;
  const [tenant = '', account = ''] = name.slice(accountSubjectPrefix.length).split('/', 2);
  const found = await tx.get(serviceAccount, { tenant, name: account });
  if (found === undefined) throw new Problem('unauthorized', `${name} is no service account any more`);
  return found.uid;
}

function ownerFrom({ remote: _, ...owner }: Subject): WebhookOwner {
  return owner;
}

async function ask(
  tx: StoreTransaction,
  { uid }: Webhook,
  id: string,
  position: { readonly xid: string; readonly seq: string } | null,
): Promise<void> {
  const { rows } = await tx.client.query<{ waiting: string }>('select count(*) as waiting from webhook_asked where uid = $1', [uid]);
  if (Number(rows[0]?.waiting) >= mostAsked)
    throw new Problem('throttled', `${mostAsked} deliveries that were asked for wait already`, { retryAfterSeconds: 10 });
  await tx.client.query('insert into webhook_asked (uid, id, xid, seq) values ($1, $2, $3::xid8, $4)', [
    uid,
    id,
    position?.xid ?? null,
    position?.seq ?? null,
  ]);
}

function wrong(pointer: string, text: string): Problem {
  return new Problem('validation', `${pointer} ${text}`, { sources: [{ pointer }] });
}
