import type { DesiredInstance, Surrender } from '@virt8ra/contract';
import type { HostContext } from '../host-context.js';
import type { PermitVerdict } from '../permits/permit-book.js';
import type { Guest } from '../qemu/guest.js';
import type { GuestNetworks } from './guest-networks.js';
import type { InstanceRecord, InstanceStore } from './instance-store.js';

/** A guest that stands still. */
export interface StillGuest {
  readonly desired: DesiredInstance;
  readonly guest: Guest;
  readonly record: InstanceRecord;
  /** What the host that its permit awaits has handed over. */
  readonly handed?: Surrender | undefined;
}

/**
 * Lets a guest run if its permit allows it now: judged, its NICs connected under their rules, journaled, and only then told to. Raises Problem when
 * its NICs cannot be connected.
 */
export async function resumeGuest(context: HostContext, networks: GuestNetworks, still: StillGuest): Promise<PermitVerdict> {
  const { networking, permits } = context;
  const { desired, guest, record, handed } = still;
  const { instance, permit } = desired;
  const verdict = permits.judge(instance, permit, record.anchor, handed);
  if (!verdict.ok || permit === undefined) return verdict;
  if (!networks.isPlugged(desired)) await networks.plug(desired);
  await permits.hold(instance, permit.epoch, permit.evidence === undefined ? handed : undefined);
  await guest.monitor.run('cont');
  // Its neighbours look for it where it was last heard.
  if (networking.mode === 'bridge') guest.monitor.run('announce-self', { initial: 50, max: 550, rounds: 5, step: 100 }).catch(() => {});
  return verdict;
}

/** Writes down that a guest has begun to run here. */
export async function noteStart(context: HostContext, store: InstanceStore, { desired, guest }: StillGuest): Promise<void> {
  const { clock, log } = context;
  const { instance, key, permit } = desired;
  const record = store.get(key);
  if (record?.launch !== undefined) await store.write({ ...record, startedAt: new Date(clock.wallMs()).toISOString() });
  log.info('a guest was started', { instance, key, pid: guest.process.pid, epoch: permit?.epoch });
}
