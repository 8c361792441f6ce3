import type { DesiredInstance } from '@virt8ra/contract';
import type { HostContext } from '../host-context.js';
import type { InstanceRecord, InstanceStore } from './instance-store.js';

/** What is remembered of an instance, made at first sight; a permit's expiry is tied to this boot's clock when it is first seen. */
export async function recordOf({ permits }: HostContext, store: InstanceStore, desired: DesiredInstance): Promise<InstanceRecord> {
  const { key, instance, permit, restarts } = desired;
  const known = store.get(key);
  const record: InstanceRecord = known ?? { version: 1, key, instance, restarts, crashes: [], forwards: [], serialDropped: 0 };
  const stale = permit?.expiresAt !== undefined && (record.anchor?.expiresAt !== permit.expiresAt || record.anchor.epoch !== permit.epoch);
  if (!stale) {
    if (known === undefined) await store.write(record);
    return record;
  }
  const anchor = permits.anchor(permit);
  const anchored = anchor === undefined ? record : { ...record, anchor };
  await store.write(anchored);
  return anchored;
}
