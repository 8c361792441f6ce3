import { backup, type Id, Problem } from '@virt8ra/contract';
import type { StoreReader } from '../resources/store.js';

/** Phases in which the content of the volumes is still being read at their host. */
const reading = ['waiting', 'copying'];

/** Raises `conflict` while one of these (an instance, block storages) is being copied for a backup; `then` says what to do afterwards. */
export async function assertNotBackedUp(reader: StoreReader, uids: readonly Id<'resource'>[], then: string): Promise<void> {
  for (const uid of uids) {
    const backups = await reader.usersOf(uid, backup);
    const busy = backups.find(
      ({ deletedAt, status }) => deletedAt === undefined && reading.includes((status as { phase?: string }).phase ?? ''),
    );
    if (busy !== undefined) throw new Problem('conflict', `backup ${busy.address.name} is reading it; ${then} once that is copied`);
  }
}
