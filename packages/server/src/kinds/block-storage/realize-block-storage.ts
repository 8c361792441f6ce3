import { type BlockStorageSpec, type Id, type ImageSpec, type Placement, Problem, type VolumeSource } from '@virt8ra/contract';
import type { BlockStorageRealizationStatus, BlockStoragesFacet, Connection, Handle, Observation } from '@virt8ra/driver';
import type { Realization } from '../../resources/ledger-types.js';
import type { StoreReader } from '../../resources/store.js';
import type { StoredResource } from '../../resources/stored-resource.js';
import type { KindContext } from '../context.js';
import { realizedHandle } from '../realize.js';
import { limitsOf } from './limits.js';
import { restoredSource } from './restore.js';
import { blockStorageBytes } from './size.js';
import { type BlockStorageStatus, type ImageFacts, imagePointer } from './status.js';

type Context = Pick<KindContext, 'store' | 'sites' | 'now'>;

export interface RealizedBlockStorage {
  readonly handle: Handle;
  readonly realization: Realization;
  readonly observation: Observation<BlockStorageRealizationStatus>;
}

/**
 * Makes a block storage on a host, or finds it there; never makes a second one. Without `source` it starts from its image, or blank. The
 * first primary one is where the block storage is placed. Raises `conflict` when it is going, being removed there, or primary elsewhere,
 * and `unavailable` when the site cannot be asked.
 */
export async function realizeBlockStorage(
  context: Context,
  resource: Pick<StoredResource, 'uid'>,
  at: { readonly site: string; readonly host: string; readonly role: Realization['role']; readonly source?: VolumeSource },
): Promise<RealizedBlockStorage> {
  const { site, host, role } = at;
  const { connection, blockStorages } = await blockStoragesAt(context, site);
  const { realization, sizeBytes, origin, limits } = await context.store.transaction(async (tx) => {
    const held = await tx.lock<BlockStorageSpec, BlockStorageStatus>(resource.uid);
    if (held === undefined || held.deletedAt !== undefined) throw new Problem('conflict', 'the block storage is being deleted');
    const { name } = held.address;
    const existing = (await tx.ledger.ofResource(held.uid)).filter((each) => each.facet === 'blockStorages' && each.role === role);
    const here = existing.find((each) => each.site === site && each.host === host);
    const size = blockStorageBytes(held.spec.sizeGB);
    const limits = await limitsOf(tx, held);
    if (here?.state === 'removing') throw new Problem('conflict', `block storage ${name} is being removed from ${host}`);
    if (here !== undefined)
      return { realization: here, sizeBytes: size, origin: recordedOrigin(here) ?? (await sourceOf(tx, held.uid)), limits };
    const elsewhere = role === 'primary' ? existing[0] : undefined;
    if (elsewhere !== undefined) {
      throw new Problem('conflict', `block storage ${name} is at ${elsewhere.host ?? elsewhere.site}; a migration moves it`);
    }
    const bound = held.status.placement;
    if (role === 'primary' && bound !== undefined && bound.site !== site) {
      throw new Problem('conflict', `block storage ${name} is bound to ${bound.site}, and its instance is at ${site}`);
    }
    const from = at.source ?? (await sourceOf(tx, held.uid));
    const facts = { origin: from, settle: false };
    const intended = await tx.ledger.intend({ resourceUid: held.uid, role, facet: 'blockStorages', site, host, facts });
    if (role === 'primary') {
      const placement: Placement = {
        site,
        host,
        ...(bound === undefined
          ? ({ cause: 'consumer', reason: 'its first instance is there' } as const)
          : { cause: bound.cause, reason: bound.reason }),
        revision: (bound?.revision ?? 0) + 1,
      };
      await tx.setStatus(held.uid, { placement }, { state: 'active', type: 'Placed', reason: 'Placed', message: `${site}/${host}` });
    }
    return { realization: intended, sizeBytes: size, origin: from, limits };
  });
  const handle = await realizedHandle(context, connection, blockStorages, realization, () => ({
    sizeBytes,
    host,
    source: origin,
    settle: false,
    limits,
  }));
  return { handle, realization: { ...realization, handle, state: 'present' }, observation: await blockStorages.observe(handle) };
}

/** What a realized disk was started from, which its site is told again whenever it is asked to change it. */
export async function originOfVolume(
  context: Pick<KindContext, 'store'>,
  resource: Pick<StoredResource, 'uid'>,
  realization: Pick<Realization, 'facts'>,
): Promise<VolumeSource> {
  return recordedOrigin(realization) ?? (await sourceOf(context.store, resource.uid));
}

function recordedOrigin({ facts }: Pick<Realization, 'facts'>): VolumeSource | undefined {
  const origin = facts['origin'];
  return origin === undefined ? undefined : (origin as VolumeSource);
}

async function sourceOf(reader: StoreReader, uid: Id<'resource'>): Promise<VolumeSource> {
  const imageUid = (await reader.referencesOf(uid)).find(({ pointer }) => pointer === imagePointer)?.uid;
  if (imageUid === undefined) return (await restoredSource(reader, uid)) ?? { type: 'blank' };
  const image = await reader.getByUid<ImageSpec, ImageFacts>(imageUid);
  const { sha256, fileBytes, format } = image?.status ?? {};
  if (sha256 === undefined || fileBytes === undefined || format === undefined) {
    throw new Problem('conflict', `the image of the block storage is ${image === undefined ? 'gone' : 'not ready'}`);
  }
  return { type: 'image', sha256, bytes: fileBytes, format };
}

/** Raises `unsupported` for a site without block storages. */
export async function blockStoragesAt(
  context: Pick<KindContext, 'sites'>,
  site: string,
): Promise<{ readonly connection: Connection; readonly blockStorages: BlockStoragesFacet }> {
  const connection = await context.sites.connectionOf(site);
  const { blockStorages } = connection;
  if (blockStorages === undefined) throw new Problem('unsupported', `site ${site} cannot hold block storages`);
  return { connection, blockStorages };
}
