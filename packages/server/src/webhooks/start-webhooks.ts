import type { Kind } from '@virt8ra/contract';
import type { Log, WorkQueue } from '@virt8ra/engine';
import type { Pool } from 'pg';
import { createEventDocuments } from '../http/event-document.js';
import { createPresenter } from '../http/presenter.js';
import type { ApiProfile } from '../http/profile.js';
import { createAccounts } from '../identity/accounts.js';
import { createGrants } from '../identity/grants.js';
import { createSeeing } from '../identity/seeing.js';
import type { KindBehaviour } from '../kinds/behaviour.js';
import type { Egress } from '../outbound/egress.js';
import type { Outbound } from '../outbound/outbound.js';
import { createFeedHub } from '../resources/feed-hub.js';
import type { Store } from '../resources/store.js';
import type { SecretBox } from '../secrets/secret-box.js';
import { createBell, webhookWork } from './bell.js';
import { createDelivery, type DeliveryOptions } from './delivery.js';

export interface WebhooksOptions {
  readonly pool: Pool;
  readonly store: Store;
  readonly queue: WorkQueue;
  readonly behaviours: readonly KindBehaviour[];
  readonly region: string;
  readonly profile: ApiProfile;
  readonly epoch: string;
  readonly outbound: Outbound;
  readonly egress: Egress;
  readonly box: SecretBox;
  readonly log: Log;
  readonly limits?: DeliveryOptions['limits'];
}

/** Webhooks in their turn at once, apart from all other work: a receiver that is slow keeps nothing but its own slot. */
const concurrency = 64;

/** Has this replica deliver. Answers how to end what wakes it; the turns themselves end with the work queue. */
export function startWebhooks(options: WebhooksOptions): () => void {
  const { pool, store, queue, behaviours, region, profile, epoch, outbound, egress, box, log, limits } = options;
  const kinds: ReadonlyMap<string, Kind> = new Map(behaviours.map(({ kind }) => [kind.kind, kind]));
  const hub = createFeedHub({ pool, log });
  const bell = createBell({ hub, queue, log });
  const accounts = createAccounts(pool);
  const deliver = createDelivery({
    pool,
    store,
    bell,
    outbound,
    egress,
    box,
    epoch,
    kinds,
    seeing: createSeeing({ grants: createGrants({ pool, kinds: [...kinds.values()], region }), region }),
    stands: async (account) => await accounts.stands(account),
    documents: createEventDocuments({
      behaviours: new Map(behaviours.map((behaviour) => [behaviour.kind.kind, behaviour])),
      present: createPresenter(store, region, profile),
    }),
    log,
    ...(limits === undefined ? {} : { limits }),
  });
  queue.handle(webhookWork, async (key, context) => await deliver(key.slice(key.indexOf('/') + 1), context), { concurrency });
  return () => {
    bell.stop();
    hub.stop();
  };
}
