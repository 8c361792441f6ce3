import { readFileSync } from 'node:fs';

/** Time that never jumps and goes on while the machine sleeps, and the wall clock beside it. */
export interface BootClock {
  /** Random id of this boot of the kernel. */
  readonly bootId: string;
  /** Milliseconds since boot, sleep included. */
  sinceBootMs(): number;
  /** Milliseconds since 1970 by the wall clock, which may jump. */
  wallMs(): number;
}

/** The kernel's own clock (`/proc/uptime`, hundredths of a second). */
export function systemClock(): BootClock {
  const bootId = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
  return {
    bootId,
    sinceBootMs: () => Number.parseFloat(readFileSync('/proc/uptime', 'utf8')) * 1000,
    wallMs: () => Date.now(),
  };
}
