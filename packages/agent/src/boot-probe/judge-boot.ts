import type { BootEvidence, DesiredInstance } from '@virt8ra/contract';

/** What is seen of a guest that shall show that it boots. */
export interface BootSigns {
  readonly expects: BootEvidence;
  readonly firmware: DesiredInstance['firmware'];
  /** All that its serial console said, or the last of it. */
  readonly serial: string;
  readonly readBytes: number;
  /** The agent inside it has answered. */
  readonly answered: boolean;
  /** It was reset so often; firmware and boot loader do it once at most. */
  readonly resets: number;
  /** QEMU's word. */
  readonly status: string;
  /** Since it first spoke, and since it had read enough; undefined: not yet. */
  readonly spokeMs: number | undefined;
  readonly readMs: number | undefined;
  readonly elapsedMs: number;
  readonly timeoutMs: number;
}

export type BootVerdict =
  | { readonly verdict: 'booting' }
  | { readonly verdict: 'alive'; readonly observed: BootEvidence }
  | { readonly verdict: 'dead'; readonly reason: string };

/** A guest that spoke, or read, must go on without a sign of failure for so long. */
export const steadyMs = 5_000;
/** Firmware and boot loader read less. */
export const tellingReadBytes = 1024 * 1024;
const mostResets = 3;

const failures: readonly (readonly [RegExp, string])[] = [
  [/Kernel panic - not syncing/, 'its kernel panicked'],
  [/No bootable (device|option)/i, 'its firmware found nothing to boot'],
  [/grub rescue>/, 'its boot loader found no system'],
  [/\(initramfs\)/, 'it did not find its root file system'],
  [/(You are in|Entering) emergency mode|Give root password for maintenance/i, 'it ended in emergency mode'],
];
const firmwareLine = /^(BdsDxe:|SeaBIOS|iPXE|UEFI |>>Start)/;

/** Whether the guest itself, rather than its firmware, has said anything. */
export function hasSpoken(serial: string): boolean {
  return plainLines(serial).some((line) => line !== '' && !firmwareLine.test(line));
}

/** Judges by what was seen alone; what is weaker than what the guest shows at its source is not enough. */
export function judgeBoot(signs: BootSigns): BootVerdict {
  const { expects, serial, answered, resets, status, spokeMs, readMs, elapsedMs, timeoutMs } = signs;
  if (answered) return { verdict: 'alive', observed: 'guest-agent' };
  const failure = failures.find(([sign]) => sign.test(serial));
  if (failure !== undefined) return { verdict: 'dead', reason: failure[1] };
  if (status === 'shutdown' || status === 'guest-panicked') return { verdict: 'dead', reason: 'it switched itself off' };
  if (resets >= mostResets) return { verdict: 'dead', reason: `it restarted ${resets} times` };
  if (expects !== 'guest-agent') {
    if (spokeMs !== undefined && spokeMs >= steadyMs) return { verdict: 'alive', observed: 'serial-console' };
    if (expects === 'disk-reads' && spokeMs === undefined && readMs !== undefined && readMs >= steadyMs)
      return { verdict: 'alive', observed: 'disk-reads' };
  }
  if (elapsedMs < timeoutMs) return { verdict: 'booting' };
  return { verdict: 'dead', reason: `${missing[expects]} within ${Math.round(timeoutMs / 1000)} s` };
}

const missing: Readonly<Record<BootEvidence, string>> = {
  'guest-agent': 'the agent inside it, which answers at its source, did not answer',
  'serial-console': 'it said nothing on its serial console, as it does at its source,',
  'disk-reads': 'it neither spoke nor read from its disks as a system that boots does',
};

/** Without what moves a cursor or colours. */
function plainLines(serial: string): string[] {
  return serial
    .replaceAll(new RegExp(`${String.fromCharCode(27)}(\\[[0-9;?=]*[A-Za-z]|[()][A-Z0-9]|[=>c])`, 'g'), '')
    .split(/[\r\n]+/)
    .map((line) => line.trim());
}
