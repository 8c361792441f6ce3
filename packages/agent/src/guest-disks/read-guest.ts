import { createHash } from 'node:crypto';
import type { GuestDiskFacts, GuestMount, GuestNicFile, NicFileKind } from '@virt8ra/contract';
import type { GuestTree } from './guest-disks.js';
import { applianceName, opensByTpm, parseMounts } from './mount-files.js';
import { nicFilePatterns, parseNicFile, parsePins } from './nic-files.js';

/** What is known of the disks before any file is read. */
export interface GuestStorage {
  readonly os: GuestDiskFacts['os'];
  readonly firmware: readonly ('bios' | 'uefi')[];
  readonly partitionTable?: string;
  readonly root?: GuestDiskFacts['root'];
  readonly groups: readonly string[];
  readonly raid: readonly string[];
  /** Devices with LUKS or another encryption on them. */
  readonly encrypted: readonly string[];
  /** UUID of what is on a device, by the appliance's name for it. */
  readonly uuids: ReadonlyMap<string, string>;
  readonly unread: readonly string[];
}

/** Programs of providers and hypervisors, by their units. Ours is `qemu-guest-agent`, which stays. */
const foreignUnits: readonly (readonly [unit: string, name: string])[] = [
  ['open-vm-tools.service', 'vmtoolsd'],
  ['vgauth.service', 'VGAuthService'],
  ['walinuxagent.service', 'waagent'],
  ['waagent.service', 'waagent'],
  ['google-guest-agent.service', 'google-guest-agent'],
  ['google-startup-scripts.service', 'google-startup-scripts'],
  ['google-shutdown-scripts.service', 'google-shutdown-scripts'],
  ['amazon-ssm-agent.service', 'amazon-ssm-agent'],
  ['hibinit-agent.service', 'hibinit-agent'],
  ['one-context.service', 'one-context'],
  ['one-context-local.service', 'one-context'],
  ['one-context-online.service', 'one-context'],
  ['xe-daemon.service', 'xe-daemon'],
  ['virtualbox-guest-utils.service', 'VBoxService'],
  ['hv-kvp-daemon.service', 'hv_kvp_daemon'],
  ['ovirt-guest-agent.service', 'ovirt-guest-agent'],
  ['cloudstack-guest-agent.service', 'cloudstack-guest-agent'],
];

/** Reads what there is to know of a Linux guest from its files. What is not there, or is not as it should be, is left out. */
export async function readGuest(tree: GuestTree, storage: GuestStorage): Promise<GuestDiskFacts> {
  const crypttab = (await tree.text('/etc/crypttab')) ?? '';
  const mounts = [...parseMounts('/etc/fstab', (await tree.text('/etc/fstab')) ?? ''), ...parseMounts('/etc/crypttab', crypttab)];
  const withUuid = mounts.map((mount): GuestMount => {
    const uuid = storage.uuids.get(applianceName(mount.device) ?? '');
    return uuid === undefined ? mount : { ...mount, uuid };
  });
  const opened = mounts.filter(({ file }) => file === '/etc/crypttab');
  const tpm = opened.some(({ target }) => opensByTpm(crypttab, target)) || (await tree.exists('/etc/clevis'));
  const grub = await firstText(tree, ['/boot/grub/grub.cfg', '/boot/grub2/grub.cfg']);
  const commandLines = `${grub}\n${(await tree.text('/etc/default/grub')) ?? ''}\n${(await tree.text('/etc/kernel/cmdline')) ?? ''}`;
  const cloudInit = await readCloudInit(tree);
  const kernel = await readKernel(tree);
  const nics = await readNics(tree);
  return {
    os: storage.os,
    boot: { firmware: [...storage.firmware], ...(await readLoader(tree, storage)) },
    ...(storage.partitionTable === undefined ? {} : { partitionTable: storage.partitionTable }),
    ...(storage.root === undefined ? {} : { root: storage.root }),
    lvm: storage.groups.map((group) => ({ group })),
    raid: [...storage.raid],
    encrypted: storage.encrypted.map((device) => ({ device, tpm })),
    mounts: withUuid,
    ...(kernel === undefined ? {} : { kernel }),
    nics,
    pinned: await readPins(tree),
    predictableNames: !/\bnet\.ifnames=0\b/.test(commandLines),
    ...(cloudInit === undefined ? {} : { cloudInit }),
    machineId: /^[0-9a-f]{32}\s*$/.test((await tree.text('/etc/machine-id')) ?? ''),
    hostKeys: await readHostKeys(tree),
    serialConsole:
      /\bconsole=ttyS0\b/.test(commandLines) || (await tree.isLink('/etc/systemd/system/getty.target.wants/serial-getty@ttyS0.service')),
    selinux: /^\s*SELINUX\s*=\s*enforcing/m.test((await tree.text('/etc/selinux/config')) ?? ''),
    agents: await readAgents(tree),
    unread: [...storage.unread],
  };
}

async function firstText(tree: GuestTree, paths: readonly string[]): Promise<string> {
  for (const path of paths) {
    const text = await tree.text(path);
    if (text !== undefined) return text;
  }
  return '';
}

async function readLoader(tree: GuestTree, { firmware }: GuestStorage): Promise<Omit<GuestDiskFacts['boot'], 'firmware'>> {
  const grub = (await tree.exists('/boot/grub/grub.cfg')) || (await tree.exists('/boot/grub2/grub.cfg'));
  const loader: GuestDiskFacts['boot']['loader'] = grub
    ? 'grub'
    : (await tree.exists('/boot/efi/loader/loader.conf'))
      ? 'systemd-boot'
      : undefined;
  const shown = loader === undefined ? {} : { loader };
  if (!firmware.includes('uefi')) return shown;
  const programs = await tree.list('/boot/efi/EFI/*/*');
  const lower = (path: string): string => path.toLowerCase();
  const efiFallback = programs.some((path) => lower(path).endsWith('/efi/boot/bootx64.efi'));
  const efiLoader =
    programs.find((path) => lower(path).endsWith('/grubx64.efi')) ?? programs.find((path) => lower(path).endsWith('/systemd-bootx64.efi'));
  return { ...shown, efiFallback, ...(efiLoader === undefined ? {} : { efiLoader }) };
}

async function readKernel(tree: GuestTree): Promise<GuestDiskFacts['kernel']> {
  const versions = (await tree.list('/boot/vmlinuz-*'))
    .map((path) => path.slice('/boot/vmlinuz-'.length))
    .filter((version) => /^[\w.+~-]+$/.test(version) && !version.includes('rescue'));
  const version = versions.sort((left, right) => left.localeCompare(right, 'en', { numeric: true })).at(-1);
  if (version === undefined) return undefined;
  let initramfs: string | undefined;
  for (const path of [`/boot/initrd.img-${version}`, `/boot/initramfs-${version}.img`, `/boot/initrd-${version}`])
    if (initramfs === undefined && (await tree.exists(path))) initramfs = path;
  const builder = (await tree.exists('/usr/sbin/update-initramfs'))
    ? 'initramfs-tools'
    : (await tree.exists('/usr/bin/dracut'))
      ? 'dracut'
      : undefined;
  const builtin = virtioIn((await tree.text(`/lib/modules/${version}/modules.builtin`)) ?? '');
  const command = builder === 'initramfs-tools' ? 'lsinitramfs' : 'lsinitrd';
  const listed = initramfs === undefined || builder === undefined ? '' : await tree.output([command, initramfs]);
  return {
    version,
    ...(initramfs === undefined ? {} : { initramfs }),
    ...(builder === undefined ? {} : { builder }),
    ...(listed === undefined || (initramfs !== undefined && builder === undefined)
      ? {}
      : { virtio: [...new Set([...builtin, ...virtioIn(listed)])].sort() }),
  };
}

function virtioIn(listing: string): string[] {
  return [...listing.matchAll(/\/(virtio[\w-]*)\.ko(?:\.(?:xz|zst|gz))?\s*$/gm)]
    .map(([, name = '']) => name.replaceAll('-', '_'))
    .slice(0, 32);
}

async function readNics(tree: GuestTree): Promise<GuestNicFile[]> {
  const found: GuestNicFile[] = [];
  for (const [kind, patterns] of Object.entries(nicFilePatterns) as [NicFileKind, readonly string[]][])
    for (const pattern of patterns)
      for (const file of (await tree.list(pattern)).slice(0, 32)) {
        const text = await tree.text(file);
        if (text !== undefined) found.push(...parseNicFile(kind, file.slice(0, 512), text));
      }
  return found.slice(0, 64);
}

async function readPins(tree: GuestTree): Promise<GuestDiskFacts['pinned']> {
  const files = [...(await tree.list('/etc/systemd/network/*.link')), '/etc/udev/rules.d/70-persistent-net.rules'];
  const found: GuestDiskFacts['pinned'] = [];
  for (const file of files.slice(0, 32)) found.push(...parsePins(file.slice(0, 512), (await tree.text(file)) ?? ''));
  return found.slice(0, 64);
}

async function readCloudInit(tree: GuestTree): Promise<GuestDiskFacts['cloudInit']> {
  if (!(await tree.exists('/usr/bin/cloud-init'))) return undefined;
  const texts: string[] = [];
  for (const file of ['/etc/cloud/cloud.cfg', ...(await tree.list('/etc/cloud/cloud.cfg.d/*.cfg'))])
    texts.push((await tree.text(file)) ?? '');
  const lists = texts.flatMap((text) => /^datasource_list:\s*\[([^\]]*)\]/m.exec(text)?.[1] ?? []);
  const datasources = lists
    .at(-1)
    ?.split(',')
    .map((word) => word.trim().slice(0, 256))
    .filter((word) => word !== '');
  const instanceId = (await tree.text('/var/lib/cloud/data/instance-id'))?.trim().slice(0, 256);
  const keeps = texts.some((text) => /^manual_cache_clean:\s*(true|yes)\b/im.test(text));
  return {
    disabled: await tree.exists('/etc/cloud/cloud-init.disabled'),
    ...(datasources === undefined ? {} : { datasources: datasources.slice(0, 64) }),
    ...(instanceId === undefined || instanceId === '' ? {} : { instanceId }),
    kept: keeps && (await tree.exists('/var/lib/cloud/instance/manual-clean')),
  };
}

async function readHostKeys(tree: GuestTree): Promise<GuestDiskFacts['hostKeys']> {
  const keys: GuestDiskFacts['hostKeys'] = [];
  for (const file of (await tree.list('/etc/ssh/ssh_host_*_key.pub')).slice(0, 16)) {
    const [type, encoded] = ((await tree.text(file)) ?? '').trim().split(/\s+/);
    if (type === undefined || encoded === undefined) continue;
    const digest = createHash('sha256').update(Buffer.from(encoded, 'base64')).digest('base64').replace(/=+$/, '');
    keys.push({ type: type.slice(0, 256), fingerprint: `SHA256:${digest}` });
  }
  return keys;
}

async function readAgents(tree: GuestTree): Promise<GuestDiskFacts['agents']> {
  const units = new Set(
    [...(await tree.list('/lib/systemd/system/*.service')), ...(await tree.list('/usr/lib/systemd/system/*.service'))].map((path) =>
      path.slice(path.lastIndexOf('/') + 1),
    ),
  );
  const found: GuestDiskFacts['agents'] = [];
  for (const [unit, name] of foreignUnits) {
    if (!units.has(unit)) continue;
    const own = `/etc/systemd/system/${unit}`;
    const state = (await tree.isLink(own)) ? 'masked' : (await tree.exists(own)) ? 'local' : 'enabled';
    found.push({ name, unit, state });
  }
  return found;
}
