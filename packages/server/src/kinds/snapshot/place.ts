import { blockStorage, Problem } from '@virt8ra/contract';
import type { Connection, Handle, SnapshotsFacet } from '@virt8ra/driver';
import type { Realization } from '../../resources/ledger-types.js';
import type { StoreReader } from '../../resources/store.js';
import type { StoredResource } from '../../resources/stored-resource.js';
import type { KindContext } from '../context.js';

/** What keeps snapshots at a site. Raises `unsupported` when nothing does. */
export async function snapshotsAt(
  context: Pick<KindContext, 'sites'>,
  site: string,
): Promise<{ readonly connection: Connection; readonly snapshots: SnapshotsFacet }> {
  const connection = await context.sites.connectionOf(site);
  const { snapshots } = connection;
  if (snapshots === undefined) throw new Problem('unsupported', `site ${site} cannot keep snapshots`);
  return { connection, snapshots };
}

/** The block storages that a snapshot is of, in its order. */
export async function volumesOfSnapshot(reader: StoreReader, uid: StoredResource['uid']): Promise<readonly StoredResource[]> {
  const references = await reader.referencesOf(uid);
  const own = references.filter(({ pointer }) => pointer === '/spec/blockStorageRef');
  const listed = references
    .filter(({ pointer }) => pointer.startsWith('/volumes/'))
    .sort((a, b) => Number(a.pointer.split('/')[2]) - Number(b.pointer.split('/')[2]));
  const found = await reader.getManyByUid([...own, ...listed].map((reference) => reference.uid));
  return found.filter(({ kind }) => kind === blockStorage.kind);
}

/** Where its block storages are. Raises `conflict` when they are at no host, or at several. */
export async function placeOfVolumes(
  tx: StoreReader & { readonly ledger: { ofResource(uid: StoredResource['uid']): Promise<readonly Realization[]> } },
  volumes: readonly StoredResource[],
): Promise<{ readonly site: string; readonly host: string; readonly handles: readonly Handle[] }> {
  const handles: Handle[] = [];
  let place: { readonly site: string; readonly host: string } | undefined;
  for (const { uid, address } of volumes) {
    const primary = (await tx.ledger.ofResource(uid)).find(({ facet, role }) => facet === 'blockStorages' && role === 'primary');
    if (primary?.handle === undefined || primary.host === undefined)
      throw new Problem('conflict', `block storage ${address.name} is at no host: there is nothing to take a snapshot of`);
    if (place !== undefined && place.host !== primary.host)
      throw new Problem(
        'conflict',
        `block storage ${address.name} is on host ${primary.host} and others on ${place.host}; they have no common moment`,
      );
    place = { site: primary.site, host: primary.host };
    handles.push(primary.handle);
  }
  if (place === undefined) throw new Problem('conflict', 'there is nothing to take a snapshot of');
  return { ...place, handles };
}
