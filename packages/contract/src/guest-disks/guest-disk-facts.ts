import { type Static, Type } from 'typebox';
import { oneOf } from '../shape.js';

/**
 * What a guest's disks say of it, read without running it. It is a stranger's word: texts are cut, and nothing secret is among it. What could not be
 * read is absent and named in `unread`.
 */

const Text = Type.String({ maxLength: 256 });
const Path = Type.String({ maxLength: 512 });

export const nicFileKinds = ['netplan', 'ifcfg', 'network-manager', 'interfaces', 'networkd'] as const;
export type NicFileKind = (typeof nicFileKinds)[number];

/** How one file names a NIC and what it gives it. */
export const GuestNicFile = Type.Object({
  file: Path,
  kind: oneOf(nicFileKinds),
  /** Kernel's name that it is bound to; absent where the MAC alone decides. */
  name: Type.Optional(Text),
  /** As it is written there. */
  mac: Type.Optional(Type.String({ maxLength: 17 })),
  /** Static ones, with the length of their prefix where it is told. */
  addresses: Type.Array(Type.String({ maxLength: 49 }), { maxItems: 32 }),
});
export type GuestNicFile = Readonly<Static<typeof GuestNicFile>>;

/** A line of fstab or crypttab that names what it is on. */
export const GuestMount = Type.Object({
  file: Path,
  line: Type.Integer({ minimum: 1 }),
  /** First field of fstab, second of crypttab. */
  device: Text,
  /** Mount point, or the name that is opened. */
  target: Text,
  /** `UUID` of what is there; absent: nothing with one was found at that name. */
  uuid: Type.Optional(Text),
  /** A start waits for it, and ends in an emergency shell without it. */
  required: Type.Boolean(),
});
export type GuestMount = Readonly<Static<typeof GuestMount>>;

export const initramfsBuilders = ['initramfs-tools', 'dracut'] as const;

export const GuestDiskFacts = Type.Object({
  os: Type.Object({
    family: oneOf(['linux', 'windows', 'other', 'unknown']),
    /** Such as `debian`, `rhel`. */
    distribution: Type.Optional(Text),
    version: Type.Optional(Text),
    name: Type.Optional(Text),
    /** `amd64`, `arm64`, or as the system calls it. */
    architecture: Type.Optional(Text),
  }),
  boot: Type.Object({
    /** What firmware finds a boot loader on these disks. */
    firmware: Type.Array(oneOf(['bios', 'uefi']), { maxItems: 2 }),
    loader: Type.Optional(oneOf(['grub', 'systemd-boot', 'syslinux'])),
    /** UEFI without remembered entries finds it: there is `EFI/BOOT/BOOTX64.EFI`. */
    efiFallback: Type.Optional(Type.Boolean()),
    /** Boot loader that could be that fallback. */
    efiLoader: Type.Optional(Path),
  }),
  partitionTable: Type.Optional(Text),
  root: Type.Optional(Type.Object({ device: Text, type: Type.Optional(Text), uuid: Type.Optional(Text) })),
  lvm: Type.Array(Type.Object({ group: Text }), { maxItems: 64 }),
  raid: Type.Array(Text, { maxItems: 64 }),
  /** `tpm`: a chip of the machine that it ran on opens it. */
  encrypted: Type.Array(Type.Object({ device: Text, tpm: Type.Boolean() }), { maxItems: 64 }),
  mounts: Type.Array(GuestMount, { maxItems: 256 }),
  /** The newest kernel, which is the one that starts. */
  kernel: Type.Optional(
    Type.Object({
      version: Text,
      initramfs: Type.Optional(Path),
      builder: Type.Optional(oneOf(initramfsBuilders)),
      /** Drivers of virtio that are in the kernel or its initramfs; absent: could not be told. */
      virtio: Type.Optional(Type.Array(Type.String({ maxLength: 64 }), { maxItems: 32 })),
    }),
  ),
  nics: Type.Array(GuestNicFile, { maxItems: 64 }),
  /** Names that the guest gives to MACs: `.link` files and rules of udev. */
  pinned: Type.Array(Type.Object({ file: Path, name: Text, mac: Type.String({ maxLength: 17 }) }), { maxItems: 64 }),
  /** systemd's own network names, which follow the place of a card in the machine. */
  predictableNames: Type.Boolean(),
  cloudInit: Type.Optional(
    Type.Object({
      disabled: Type.Boolean(),
      /** `datasource_list`; absent: all are tried. */
      datasources: Type.Optional(Type.Array(Text, { maxItems: 64 })),
      /** Of its last first start; absent: it never had one. */
      instanceId: Type.Optional(Text),
      /** It keeps to what it was told once, whatever machine it finds itself on. */
      kept: Type.Boolean(),
    }),
  ),
  machineId: Type.Boolean(),
  hostKeys: Type.Array(Type.Object({ type: Text, fingerprint: Text }), { maxItems: 16 }),
  serialConsole: Type.Boolean(),
  /** SELinux is enforced: what is changed from outside has to be labelled anew. */
  selinux: Type.Boolean(),
  /** Programs of providers and hypervisors inside. */
  agents: Type.Array(Type.Object({ name: Text, unit: Text, state: oneOf(['enabled', 'masked', 'local']) }), { maxItems: 64 }),
  /** What could not be looked at, each a sentence. */
  unread: Type.Array(Type.String({ maxLength: 1024 }), { maxItems: 64 }),
});
/** What was found on a guest's disks, and when they were so. */
export const GuestInspection = Type.Object({ at: Type.String({ maxLength: 40 }), facts: GuestDiskFacts });
export type GuestInspection = Readonly<Static<typeof GuestInspection>>;
export type GuestDiskFacts = Readonly<Static<typeof GuestDiskFacts>>;
