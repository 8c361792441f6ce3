import { Problem } from '@virt8ra/contract';
import type { Connection, Facet, Handle } from '@virt8ra/driver';
import type { Realization } from '../resources/ledger-types.js';
import type { KindContext } from './context.js';

type RealizeContext = Pick<KindContext, 'store' | 'now'>;

/**
 * The handle of what a ledger row stands for, made at the site when it is not there. What was asked for before is looked for first, and
 * asked again only once it would have become findable, so that a lost reply never makes two objects. Raises `unavailable` before that.
 */
export async function realizedHandle<Spec, Status>(
  context: RealizeContext,
  { capabilities }: Pick<Connection, 'capabilities'>,
  facet: Facet<Spec, Status>,
  realization: Realization,
  spec: () => Spec | Promise<Spec>,
): Promise<Handle> {
  if (realization.handle !== undefined) return realization.handle;
  const { id, key } = realization;
  const handle = (await facet.find(key)) ?? (await create());
  await context.store.transaction(async (tx) => await tx.ledger.confirm(id, handle));
  return handle;

  async function create(): Promise<Handle> {
    assertSettled(context, capabilities.settleSeconds, realization);
    const wanted = await spec();
    await context.store.transaction(async (tx) => await tx.ledger.setFacts(id, { askedAt: context.now().toISOString() }));
    return await facet.create(wanted, key);
  }
}

/** Why something is not gone yet. */
export interface StillThere {
  readonly reason: string;
  /** False: its site does not answer for it now. */
  readonly reachable: boolean;
}

/** Undefined when it is positively gone from its site, else why not yet. The ledger row is left for the caller to forget. */
export async function withdrawn<Spec, Status>(
  context: RealizeContext,
  { capabilities }: Pick<Connection, 'capabilities'>,
  facet: Facet<Spec, Status>,
  realization: Realization,
): Promise<StillThere | undefined> {
  if (realization.state !== 'removing') await context.store.transaction(async (tx) => await tx.ledger.setRemoving(realization.id));
  const place = realization.host === undefined ? realization.site : `${realization.host} at ${realization.site}`;
  const handle = realization.handle ?? (await facet.find(realization.key));
  if (handle === undefined) {
    assertSettled(context, capabilities.settleSeconds, realization);
    return undefined;
  }
  await facet.remove(handle);
  const seen = await facet.observe(handle);
  if (seen.type === 'absent') return undefined;
  return seen.type === 'unknown'
    ? { reason: `${place} cannot be asked: ${seen.reason}`, reachable: false }
    : { reason: `waiting for ${place} to remove it`, reachable: true };
}

function assertSettled(context: RealizeContext, settleSeconds: number, { facts, site }: Realization): void {
  const askedAt = facts['askedAt'];
  if (typeof askedAt !== 'string') return;
  const leftSeconds = Math.ceil((Date.parse(askedAt) - context.now().getTime()) / 1000 + settleSeconds);
  if (leftSeconds > 0) {
    throw new Problem('unavailable', `${site} was asked for it and may not show it yet`, { retryAfterSeconds: leftSeconds });
  }
}
