import type { MoveFinding, MoveSeverity } from '../move-finding.js';
import type { GuestDiskFacts } from './guest-disk-facts.js';
import { consoleUnit, driversOf, efiFallbackFile, isDeviceName, losesIdentity, missingDrivers } from './guest-preparation.js';
import type { GuestTarget } from './guest-target.js';
import { placeNics, withoutPrefix } from './place-nics.js';

const byPreparation = 'let the copy be prepared: start the move with --guest-changes needed';

/** What of a guest's inside is in the way of its start on `target`, or would make it another one, each with its mend. Empty: nothing was found. */
export function preflight(facts: GuestDiskFacts, target: GuestTarget): readonly MoveFinding[] {
  const { os } = facts;
  if (os.family !== 'linux') return [...machine(facts, target), ...encrypted(facts), ...system(facts), ...unread(facts)];
  return [
    ...machine(facts, target),
    ...encrypted(facts),
    ...mounts(facts),
    ...drivers(facts, target),
    ...nics(facts, target),
    ...identity(facts, target),
    ...rest(facts),
    ...unread(facts),
  ];
}

function finding(code: string, severity: MoveSeverity, where: string, what: string, mend: string): MoveFinding {
  return { code, severity, where, what, mend };
}

function system({ os, encrypted: volumes }: GuestDiskFacts): MoveFinding[] {
  if (os.family === 'windows')
    return [
      finding(
        'guest-windows',
        'warns',
        'os',
        `${os.name ?? 'Windows'}: its drivers cannot be looked at or changed here`,
        'install the virtio drivers (virtio-win) inside the guest and restart it once before the move; a licence may ask to be activated again',
      ),
    ];
  if (volumes.length > 0) return [];
  return [
    finding(
      'guest-unknown',
      'warns',
      'os',
      'no operating system that is known was found on the disks',
      'see to it that the guest has virtio drivers and mounts by UUID, and have a probe of the copy boot first',
    ),
  ];
}

function machine({ os, boot, root }: GuestDiskFacts, target: GuestTarget): MoveFinding[] {
  const found: MoveFinding[] = [];
  if (os.architecture !== undefined && os.architecture !== target.architecture)
    found.push(
      finding(
        'architecture',
        'blocks',
        'os',
        `the guest is of ${os.architecture} and the target runs ${target.architecture}`,
        'choose a site with hosts of its architecture',
      ),
    );
  const { firmware } = target;
  if (firmware !== undefined && boot.firmware.length > 0 && !boot.firmware.includes(firmware))
    found.push(
      finding(
        'firmware',
        'blocks',
        'boot',
        `the guest starts by ${boot.firmware.join(' or ')} and the target has ${firmware}`,
        `choose a target with ${boot.firmware.join(' or ')}, or install a boot loader for ${firmware} inside the guest first`,
      ),
    );
  if (firmware !== 'bios' && boot.firmware.includes('uefi') && boot.efiFallback === false)
    found.push(
      boot.efiLoader === undefined
        ? finding(
            'efi-fallback',
            'warns',
            efiFallbackFile,
            'the boot loader is found by an entry in the old firmware alone',
            'inside the guest: grub-install --force-extra-removable',
          )
        : finding(
            'efi-fallback',
            'warns',
            efiFallbackFile,
            'the boot loader is found by an entry in the old firmware alone',
            byPreparation,
          ),
    );
  if (root !== undefined && isDeviceName(root.device) && root.uuid === undefined)
    found.push(
      finding(
        'root-device',
        'warns',
        'boot',
        `the root device ${root.device} has no UUID`,
        'give its file system a UUID (tune2fs -U random)',
      ),
    );
  return found;
}

function encrypted({ encrypted: volumes }: GuestDiskFacts): MoveFinding[] {
  return volumes.map(({ device, tpm }) =>
    tpm
      ? finding(
          'tpm-bound',
          'blocks',
          device,
          `${device} is encrypted and opened by the TPM of the machine that it is on`,
          'add a passphrase (systemd-cryptenroll --password, or clevis luks unbind) inside the guest, and move again',
        )
      : finding(
          'encrypted',
          'warns',
          device,
          `${device} is encrypted: it could not be looked into, and nothing in it can be prepared`,
          'somebody types its passphrase at the console after the move; check mounts and drivers inside the guest yourself',
        ),
  );
}

function mounts({ mounts: lines }: GuestDiskFacts): MoveFinding[] {
  return lines
    .filter(({ device }) => isDeviceName(device))
    .map(({ file, line, device, target, uuid, required }) => {
      const where = `${file}:${line}`;
      if (uuid !== undefined)
        return finding('device-name', 'warns', where, `${target} is on ${device}, which another machine may call otherwise`, byPreparation);
      return finding(
        'device-missing',
        required ? 'blocks' : 'warns',
        where,
        `${target} is on ${device}, which is on none of the disks that move`,
        `move the disk along, or take the line out, or give it the option nofail`,
      );
    });
}

function drivers(facts: GuestDiskFacts, target: GuestTarget): MoveFinding[] {
  const { kernel } = facts;
  if (driversOf[target.diskBus].length === 0) return [];
  if (kernel?.virtio === undefined)
    return [
      finding(
        'drivers-unknown',
        'info',
        'boot',
        'whether the guest starts from virtio disks could not be told',
        'have a probe of the copy boot first',
      ),
    ];
  const missing = missingDrivers(facts, target);
  if (missing.length === 0) return [];
  const canMake = kernel.builder !== undefined && kernel.initramfs !== undefined;
  return [
    finding(
      'virtio-missing',
      canMake ? 'warns' : 'blocks',
      kernel.initramfs ?? 'boot',
      `kernel ${kernel.version} starts without ${missing.join(', ')} and would not find its disk`,
      canMake ? byPreparation : 'make its initramfs with these drivers inside the guest',
    ),
  ];
}

function nics(facts: GuestDiskFacts, target: GuestTarget): MoveFinding[] {
  const found: MoveFinding[] = [];
  const { placed, open } = placeNics(facts, target);
  const fileOf = (name: string) => facts.nics.find((nic) => nic.name === name)?.file ?? 'network';
  for (const { name } of placed)
    found.push(finding('nic-name', 'warns', fileOf(name), `it names NIC ${name}, which another machine may call otherwise`, byPreparation));
  for (const name of open)
    found.push(
      finding(
        'nic-unclear',
        'warns',
        fileOf(name),
        `it names NIC ${name}, and which of the target's NICs that is cannot be told`,
        'bind it to a MAC in that file, or run qemu-guest-agent inside the guest, and look again',
      ),
    );
  for (const { file, mac } of facts.nics) {
    const lower = mac?.toLowerCase();
    if (lower === undefined || target.nics.some((nic) => nic.mac === lower)) continue;
    found.push(
      target.nics.some(({ was }) => was === lower)
        ? finding('nic-mac', 'warns', file, `it is bound to MAC ${mac}, which is another one at the target`, byPreparation)
        : finding(
            'nic-lost',
            'warns',
            file,
            `it is bound to MAC ${mac}, which no NIC of the target has`,
            'give the target a NIC of that MAC, or change the file inside the guest',
          ),
    );
  }
  const given = target.nics.flatMap(({ addresses }) => addresses.map(withoutPrefix));
  for (const { file, addresses } of facts.nics) {
    const foreign = addresses.filter((address) => !given.includes(withoutPrefix(address)));
    if (given.length > 0 && foreign.length > 0)
      found.push(
        finding(
          'static-address',
          'warns',
          file,
          `it sets ${foreign.join(', ')}, which the target does not give to the guest`,
          `give its NIC that address at the target; what the guest sends from another address is dropped`,
        ),
      );
  }
  return found;
}

function identity(facts: GuestDiskFacts, target: GuestTarget): MoveFinding[] {
  if (!losesIdentity(facts, target)) return [];
  return [
    finding(
      'cloud-init-identity',
      'warns',
      'cloud-init',
      `cloud-init would take the copy for a new machine instead of ${facts.cloudInit?.instanceId} and make host keys, users and network anew`,
      byPreparation,
    ),
  ];
}

const licensed: readonly string[] = ['rhel', 'sles', 'suse', 'oraclelinux'];

function rest({ os, agents, serialConsole, machineId, raid, lvm }: GuestDiskFacts): MoveFinding[] {
  const found: MoveFinding[] = [];
  const foreign = agents.filter(({ state }) => state === 'enabled');
  for (const { name, unit } of foreign)
    found.push(finding('foreign-agent', 'info', unit, `${name} serves the old provider and waits for it at the new one`, byPreparation));
  if (!serialConsole) found.push(finding('serial-console', 'info', consoleUnit, 'there is no login on the serial console', byPreparation));
  if (!machineId)
    found.push(
      finding('machine-id', 'info', '/etc/machine-id', 'it has none yet and makes one at its next start', 'nothing is to be done'),
    );
  if (licensed.includes(os.distribution ?? ''))
    found.push(
      finding(
        'licence',
        'info',
        'os',
        `${os.name ?? os.distribution}: its subscription may be bound to the old provider`,
        'register it again after the move',
      ),
    );
  if (raid.length > 0) found.push(finding('raid', 'info', raid.join(', '), 'disks are joined by md', 'move all of them together'));
  if (lvm.length > 0)
    found.push(
      finding(
        'lvm',
        'info',
        lvm.map(({ group }) => group).join(', '),
        'volumes of LVM, which find themselves by UUID',
        'move all disks of the group together',
      ),
    );
  return found;
}

function unread({ unread: sentences }: GuestDiskFacts): MoveFinding[] {
  return sentences.map((what) => finding('unread', 'info', 'disks', what, 'look inside the guest'));
}
