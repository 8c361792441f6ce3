import type { GuestMount } from '@virt8ra/contract';

const optional = /(^|,)(nofail|noauto)(,|$)/;

/** The lines of fstab that name a device, or of crypttab, without their UUIDs. */
export function parseMounts(file: '/etc/fstab' | '/etc/crypttab', text: string): Omit<GuestMount, 'uuid'>[] {
  return text
    .slice(0, 262_144)
    .split('\n')
    .flatMap((line, index): Omit<GuestMount, 'uuid'>[] => {
      const [first, second, third = '', fourth = ''] = line.trim().split(/\s+/);
      if (first === undefined || second === undefined || first.startsWith('#')) return [];
      const [device, target, options] = file === '/etc/fstab' ? [first, second, fourth] : [second, first, fourth];
      if (file === '/etc/fstab' && !device.startsWith('/dev/')) return [];
      const required = !optional.test(options) && third !== 'swap';
      return [{ file, line: index + 1, device: device.slice(0, 256), target: target.slice(0, 256), required }];
    })
    .slice(0, 128);
}

/** Whether a line of crypttab has its key in a chip of the machine. */
export function opensByTpm(text: string, target: string): boolean {
  return text.split('\n').some((line) => line.trim().split(/\s+/)[0] === target && /tpm2-device=|tpm2=/.test(line));
}

/**
 * What the appliance calls a device that the guest calls otherwise: the Nth disk is the Nth, whatever its bus. Undefined for names that do not count
 * disks.
 */
export function applianceName(device: string): string | undefined {
  const letters = /^\/dev\/(?:sd|vd|xvd|hd)([a-z])(\d*)$/.exec(device);
  if (letters?.[1] !== undefined) return `/dev/sd${letters[1]}${letters[2] ?? ''}`;
  const numbers = /^\/dev\/nvme(\d+)n1(?:p(\d+))?$/.exec(device);
  const place = Number(numbers?.[1]);
  return numbers === null || place > 25 ? undefined : `/dev/sd${String.fromCharCode(97 + place)}${numbers[2] ?? ''}`;
}
