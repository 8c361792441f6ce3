import { type LogicalVolume, listLogicalVolumes, type PoolName, poolAmong, roomOfPool } from './logical-volumes.js';
import type { RoomSource } from './room.js';

export function poolText({ group, pool }: PoolName): string {
  return `${group}/${pool}`;
}

/** The room of a thin pool; `look` answers the logical volumes of its group. */
export function poolFilling(
  name: PoolName,
  look: () => Promise<readonly LogicalVolume[]> = () => listLogicalVolumes(name.group),
): RoomSource {
  return { name: `the thin pool ${poolText(name)}`, look: async () => roomOfPool(poolAmong(await look(), name)) };
}

/** A pool by its text, which has the form of `poolText`. */
export function poolNamed(text: string): PoolName {
  const [group = '', pool = ''] = text.split('/');
  return { group, pool };
}
