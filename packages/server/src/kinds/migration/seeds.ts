import type { Id, ImageSpec } from '@virt8ra/contract';
import type { Handle, Seed } from '@virt8ra/driver';
import type { Realization } from '../../resources/ledger-types.js';
import { type ImageFacts, imagePointer } from '../block-storage/index.js';
import type { KindContext } from '../context.js';
import type { MovePlan, PlannedVolume } from './plan.js';
import { facetsAt, lastStatusOf, type SiteFacets } from './site-facets.js';

/** A sibling with more than this beyond what arrives costs more to copy than it spares. */
const worthwhile = { times: 1.5, bytes: 1024 ** 3 } as const;

type Made = Realization & { readonly handle: Handle };

/**
 * What the target host may hold of each disk already, in the order of the plan: what the plan names, an earlier copy of the same disk, the image that it was
 * made from, or another disk of the same workspace made from that. Never raises for want of one: without a seed everything is sent.
 */
export async function seedsOf(context: KindContext, plan: MovePlan): Promise<readonly (Seed | undefined)[]> {
  if (plan.mode === 'live') return plan.volumes.map(() => undefined);
  const source = await facetsAt(context, plan.from.site);
  const target = await facetsAt(context, plan.to.site);
  return await Promise.all(plan.volumes.map(async (volume) => volume.seed ?? (await seedOf(context, plan, volume, { source, target }))));
}

async function seedOf(
  context: KindContext,
  { to }: MovePlan,
  volume: PlannedVolume,
  { source, target }: { readonly source: SiteFacets; readonly target: SiteFacets },
): Promise<Seed | undefined> {
  const { store } = context;
  const isHere = (made: Realization): made is Made =>
    made.facet === 'blockStorages' &&
    made.site === to.site &&
    made.host === to.host &&
    made.state === 'present' &&
    made.handle !== undefined;
  const own = (await store.ledger.ofResource(volume.uid))
    .filter(isHere)
    .find(({ id, role }) => id !== volume.target.id && role === 'retained');
  if (own !== undefined) return { volume: own.handle };
  const image = (await store.referencesOf(volume.uid)).find(({ pointer }) => pointer === imagePointer);
  if (image === undefined) return undefined;
  const siblings = (await store.ledger.ofResources(await siblingsOf(context, volume.uid, image.uid))).filter(isHere);
  const isKept = siblings.some(({ facts }) => (facts['origin'] as PlannedVolume['origin'] | undefined)?.type === 'image');
  if (!isKept) {
    const most = await allocatedBytes(source, volume.source.handle);
    for (const { handle, role } of siblings) {
      const bytes = role === 'primary' && most !== undefined ? await allocatedBytes(target, handle) : undefined;
      if (bytes !== undefined && most !== undefined && bytes <= most * worthwhile.times + worthwhile.bytes) return { volume: handle };
    }
  }
  // Hosts keep images for a while: it may be there although nothing made from it is.
  const { sha256, format } = (await store.getByUid<ImageSpec, ImageFacts>(image.uid))?.status ?? {};
  return sha256 === undefined || format === undefined ? undefined : { image: { sha256, format } };
}

/** Of the same workspace: what a disk of another holds, or does not, is nobody else's affair. */
async function siblingsOf({ store }: KindContext, uid: Id<'resource'>, image: Id<'resource'>): Promise<readonly Id<'resource'>[]> {
  const own = await store.getByUid(uid);
  const users = await store.usersOf(image);
  return users
    .filter(({ uid: user, kind, address }) => {
      const sameKind = kind === own?.kind && user !== uid;
      return sameKind && address.tenant === own.address.tenant && address.workspace === own.address.workspace;
    })
    .map((user) => user.uid);
}

async function allocatedBytes({ blockStorages }: SiteFacets, handle: Handle): Promise<number | undefined> {
  const seen = lastStatusOf(await blockStorages.observe(handle));
  return seen === 'absent' || (seen?.state !== 'ready' && seen?.state !== 'arrived') ? undefined : seen.allocatedBytes;
}
