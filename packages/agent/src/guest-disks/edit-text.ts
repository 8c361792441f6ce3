import type { GuestEdit } from '@virt8ra/contract';

/** Words are what stands between spaces, quotes, and the signs that configuration puts around values. Those of longer ones, such as /dev/sdb in /dev/sdb1, stay. */
export function replaceWords(text: string, words: readonly { readonly from: string; readonly to: string }[]): string {
  return words.reduce((before, { from, to }) => {
    const pattern = new RegExp(`(^|[\\s"'=,;\\[])${from.replaceAll(/[\\^$.*+?()[\]{}|/-]/g, '\\$&')}(?=$|[\\s"',;\\]])`, 'gm');
    return before
      .split('\n')
      .map((line) => (/^\s*#/.test(line) ? line : line.replaceAll(pattern, (_, lead: string) => `${lead}${to}`)))
      .join('\n');
  }, text);
}

/** How an initramfs gets drivers: a file of ours that its builder reads, and the builder. */
export function driverFiles({ kernel, builder, drivers }: Extract<GuestEdit, { type: 'initramfs' }>): {
  readonly file: string;
  readonly content: string;
  readonly command: readonly string[];
} {
  return builder === 'initramfs-tools'
    ? {
        file: '/usr/share/initramfs-tools/modules.d/virt8ra',
        content: `${drivers.join('\n')}\n`,
        command: ['update-initramfs', '-u', '-k', kernel],
      }
    : {
        file: '/etc/dracut.conf.d/90-virt8ra.conf',
        content: `add_drivers+=" ${drivers.join(' ')} "\n`,
        command: ['dracut', '--force', '--kver', kernel],
      };
}
