import { instance, type Placement, Problem, site } from '@virt8ra/contract';
import type { Queryable } from '@virt8ra/engine';
import type { StoreTransaction } from '../../resources/store.js';
import type { StoredResource } from '../../resources/stored-resource.js';
import type { BlockStorageStatus } from './status.js';

const extension = 'virt8ra.site';
const sources = [{ pointer: `/extensions/${extension}` }];

type Extensions = StoredResource['extensions'] | undefined;
type Held = StoredResource<unknown, BlockStorageStatus>;

/** What the extension makes of the place of a block storage: where it is to be, that it is nowhere yet, or nothing new. */
export type RequestedPlace = { readonly placement: Placement } | 'unplaced' | 'unchanged';

/**
 * The extension `virt8ra.site` binds a block storage to a site before any instance uses it; its host there is chosen with the first that
 * does. Like a zone it counts when it changes: once the block storage has gone elsewhere with a migration, repeating it moves nothing.
 * Raises `validation` for a site that is not there, and `conflict` where it is elsewhere already or an instance waits for it.
 */
export async function requestedPlace(
  tx: StoreTransaction,
  next: Extensions,
  previous: (Held & { readonly realized: boolean }) | undefined,
): Promise<RequestedPlace> {
  const wanted = next?.[extension];
  if (wanted === previous?.extensions[extension]) return 'unchanged';
  if (wanted !== undefined) await assertStands(tx, wanted);
  if (previous === undefined) return wanted === undefined ? 'unchanged' : { placement: placementAt(wanted, 1) };
  const { placement } = previous.status;
  const { name } = previous.address;
  if (previous.realized) {
    if (wanted === undefined || wanted === placement?.site) return 'unchanged';
    throw new Problem(
      'conflict',
      `block storage ${name} is at ${placement?.site}; it moves with its instance: virt8ra migrate NAME --to ${wanted}`,
      {
        sources,
      },
    );
  }
  const [user] = await tx.usersOf(previous.uid, instance);
  if (user !== undefined) {
    throw new Problem('conflict', `instance ${user.address.name} waits for block storage ${name}, whose site cannot change now`, {
      sources,
    });
  }
  return wanted === undefined ? 'unplaced' : { placement: placementAt(wanted, (placement?.revision ?? 0) + 1) };
}

function placementAt(at: string, revision: number): Placement {
  return { site: at, cause: 'requested', reason: `${extension} names it`, revision };
}

/** Held until the transaction ends, so that the site cannot go at the same moment. */
async function assertStands(tx: StoreTransaction, name: string): Promise<void> {
  const found = await tx.share(site, { name });
  if (found !== undefined && found.deletedAt === undefined) return;
  throw new Problem('validation', `there is no site ${name.slice(0, 64)}; virt8ra sites lists them`, { sources });
}

/** One of the block storages that are at a site or bound to it, if there is any. */
export async function blockStorageBoundTo(client: Queryable, siteName: string): Promise<string | undefined> {
  const { rows } = await client.query<{ name: string }>(
    `select name from resource where kind = 'block-storage' and status -> 'placement' ->> 'site' = $1 limit 1`,
    [siteName],
  );
  return rows[0]?.name;
}
