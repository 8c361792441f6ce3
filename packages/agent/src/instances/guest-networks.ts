import type { DesiredInstance, DesiredNic, ObservedNic } from '@virt8ra/contract';

/** What guests need of the networks of their host. */
export interface GuestNetworks {
  /** Makes the tap that the guest's process, run by user `uid`, opens by the name answered. Raises Problem unavailable without such a network. */
  makeTap(nic: DesiredNic, uid: number): Promise<string>;
  /** Namespaces that taps may be in. */
  namespaces(): readonly string[];
  /** Connects the taps that the guest's process has open, once their rules hold. Raises Problem when they do not. */
  plug(instance: DesiredInstance): Promise<void>;
  /** Whether all NICs were connected under their rules at the last look. */
  isPlugged(instance: DesiredInstance): boolean;
  nicsSeen(instance: DesiredInstance): ObservedNic[];
}
