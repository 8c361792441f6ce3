import type { InstanceRealizationStatus } from '@virt8ra/driver';

/** Why a guest whose process ended is down: its host starts it again, or does so no more. */
export function troubleOf(forGood: boolean): NonNullable<InstanceRealizationStatus['trouble']> {
  return { code: forGood ? 'restart-policy' : 'internal', message: 'the guest’s process ended by itself' };
}
