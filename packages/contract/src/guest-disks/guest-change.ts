import { type Static, Type } from 'typebox';
import { oneOf } from '../shape.js';
import type { initramfsBuilders } from './guest-disk-facts.js';

export const guestChangeCodes = [
  'mounts-by-uuid',
  'virtio-drivers',
  'nic-mac',
  'nic-name',
  'cloud-init-identity',
  'foreign-agent',
  'serial-console',
  'efi-fallback',
  'relabel',
] as const;
export type GuestChangeCode = (typeof guestChangeCodes)[number];

/** A change of a guest's disks: what it is for, which file, why. The report of a move lists these. */
export const GuestChange = Type.Object({
  code: oneOf(guestChangeCodes),
  file: Type.String({ maxLength: 512 }),
  why: Type.String({ maxLength: 1024 }),
});
export type GuestChange = Readonly<Static<typeof GuestChange>>;

/** How a change is made. Each, made again, changes nothing. */
export type GuestEdit =
  /** The whole file is ours. */
  | { readonly type: 'write'; readonly content: string }
  /** Words are replaced wherever they stand for themselves. */
  | { readonly type: 'replace'; readonly words: readonly { readonly from: string; readonly to: string }[] }
  | { readonly type: 'link'; readonly to: string }
  | { readonly type: 'copy'; readonly from: string }
  /** The guest's own program makes it anew, with these drivers in it. */
  | {
      readonly type: 'initramfs';
      readonly kernel: string;
      readonly builder: (typeof initramfsBuilders)[number];
      readonly drivers: readonly string[];
    };

export interface PlannedGuestChange extends GuestChange {
  readonly edit: GuestEdit;
}

/** What came of preparing the copy: all changes that were made, or none. */
export const GuestPreparation = Type.Object({
  state: oneOf(['changing', 'prepared', 'failed']),
  changes: Type.Array(GuestChange, { maxItems: 256 }),
  problem: Type.Optional(Type.Object({ code: Type.String({ maxLength: 64 }), message: Type.String({ maxLength: 4096 }) })),
});
export type GuestPreparation = Readonly<Static<typeof GuestPreparation>>;
