import { describe, expect, it } from 'vitest';
import { type BootSigns, hasSpoken, judgeBoot, steadyMs } from './judge-boot.js';

const nothing: BootSigns = {
  expects: 'disk-reads',
  firmware: 'BIOS',
  serial: '',
  readBytes: 0,
  answered: false,
  resets: 0,
  status: 'running',
  spokeMs: undefined,
  readMs: undefined,
  elapsedMs: 1_000,
  timeoutMs: 60_000,
};
const late = { elapsedMs: 60_000 };

describe('a guest that shall show that it boots', () => {
  it('is alive by the strongest that was observed, and by nothing weaker than it shows at its source', () => {
    expect(judgeBoot(nothing)).toEqual({ verdict: 'booting' });
    expect(judgeBoot({ ...nothing, answered: true })).toEqual({ verdict: 'alive', observed: 'guest-agent' });
    expect(judgeBoot({ ...nothing, spokeMs: steadyMs })).toEqual({ verdict: 'alive', observed: 'serial-console' });
    expect(judgeBoot({ ...nothing, readMs: steadyMs })).toEqual({ verdict: 'alive', observed: 'disk-reads' });
    const speaks = { ...nothing, expects: 'serial-console', readMs: steadyMs } as const;
    expect(judgeBoot(speaks)).toEqual({ verdict: 'booting' });
    expect(judgeBoot({ ...speaks, ...late })).toMatchObject({ verdict: 'dead', reason: expect.stringContaining('serial console') });
    const answers = { ...nothing, expects: 'guest-agent', readMs: steadyMs, spokeMs: steadyMs } as const;
    expect(judgeBoot(answers)).toEqual({ verdict: 'booting' });
    expect(judgeBoot({ ...answers, ...late })).toMatchObject({ verdict: 'dead', reason: expect.stringContaining('answers at its source') });
  });

  it.each([
    ['[    2.1] Kernel panic - not syncing: VFS: Unable to mount root fs', 'its kernel panicked'],
    ['error: no such partition.\nEntering rescue mode...\ngrub rescue> ', 'its boot loader found no system'],
    ['BusyBox v1.35 built-in shell (ash)\n(initramfs) ', 'it did not find its root file system'],
    ['You are in emergency mode. After logging in', 'it ended in emergency mode'],
    ['BdsDxe: No bootable option or device was found.', 'its firmware found nothing to boot'],
  ])('is dead by its own words: %s', (serial, reason) => {
    expect(judgeBoot({ ...nothing, serial, spokeMs: steadyMs, readMs: steadyMs })).toEqual({ verdict: 'dead', reason });
  });

  it('is dead when it switches itself off, restarts over and over, or shows nothing in time', () => {
    expect(judgeBoot({ ...nothing, status: 'shutdown' })).toMatchObject({ verdict: 'dead' });
    expect(judgeBoot({ ...nothing, resets: 3 })).toMatchObject({ verdict: 'dead', reason: 'it restarted 3 times' });
    expect(judgeBoot({ ...nothing, ...late })).toMatchObject({ verdict: 'dead', reason: expect.stringContaining('within 60 s') });
  });

  it('has not spoken when its firmware has', () => {
    const esc = String.fromCharCode(27);
    expect(hasSpoken(`${esc}[2J${esc}[01;01H${esc}[=3hBdsDxe: loading Boot0001 "UEFI Misc Device"\r\nBdsDxe: starting Boot0001\r\n`)).toBe(
      false,
    );
    expect(hasSpoken(`BdsDxe: starting Boot0001\r\n[    0.000000] Linux version 6.1.0`)).toBe(true);
    expect(hasSpoken('')).toBe(false);
  });
});
