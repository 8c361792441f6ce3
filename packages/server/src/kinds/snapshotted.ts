import { type Id, Problem, snapshot } from '@virt8ra/contract';
import type { StoreReader } from '../resources/store.js';
import type { StoredResource } from '../resources/stored-resource.js';

type Snapshot = StoredResource<unknown, { readonly phase?: string }>;

/** Raises `conflict` while one of these block storages has a snapshot; `why` says what that is in the way of. */
export async function assertNoSnapshots(reader: StoreReader, uids: readonly Id<'resource'>[], why: string): Promise<void> {
  const names = (await snapshotsOf(reader, uids)).map(({ address }) => address.name);
  if (names.length > 0)
    throw new Problem('conflict', `${why}: delete ${names.slice(0, 5).join(', ')}${names.length > 5 ? ' and others' : ''} first`);
}

/** Raises `conflict` while one of these block storages is becoming what a snapshot kept. */
export async function assertNotReverting(reader: StoreReader, uids: readonly Id<'resource'>[]): Promise<void> {
  const reverting = (await snapshotsOf(reader, uids)).find(({ status }) => status.phase === 'reverting');
  if (reverting !== undefined)
    throw new Problem('conflict', `its disks are becoming what snapshot ${reverting.address.name} kept; try again when they are`);
}

async function snapshotsOf(reader: StoreReader, uids: readonly Id<'resource'>[]): Promise<readonly Snapshot[]> {
  const found = new Map<string, Snapshot>();
  for (const uid of uids) for (const each of (await reader.usersOf(uid, snapshot)) as readonly Snapshot[]) found.set(each.uid, each);
  return [...found.values()];
}
