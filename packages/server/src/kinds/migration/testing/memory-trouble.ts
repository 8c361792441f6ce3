import { Problem } from '@virt8ra/contract';
import type { InstanceRealizationStatus, TransferStatus } from '@virt8ra/driver';

/** State of a transfer at its source in which it comes to nothing. */
export type FillMoment = 'copying' | 'finishing';

interface End {
  state: TransferStatus['state'];
  trouble?: Problem;
}

/** Why a guest whose process ended is down: its host starts it again, or does so no more. */
export function troubleOf(forGood: boolean): NonNullable<InstanceRealizationStatus['trouble']> {
  return { code: forGood ? 'restart-policy' : 'internal', message: 'the guest’s process ended by itself' };
}

/** Has a transfer fail if its target is full, or lost, at this moment: both ends tell of a full disk, of a lost peer only the source. */
export function failsAt(
  peer: { readonly host: string; readonly fillsAt: FillMoment | undefined; readonly losesAt?: FillMoment },
  receiver: End,
  sender: End,
): boolean {
  if (sender.state === peer.fillsAt) {
    const facts = { code: 'exhausted', host: peer.host };
    const trouble = new Problem('exhausted', 'the disk is full: 1.0 MiB are free, up to 2.0 MiB more are needed', { facts });
    for (const either of [receiver, sender]) Object.assign(either, { state: 'failed', trouble });
    return true;
  }
  if (sender.state !== peer.losesAt) return false;
  Object.assign(sender, { state: 'failed', trouble: new Problem('unavailable', 'the peer does not answer') });
  return true;
}
