import { mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { type DesiredInstance, Problem } from '@virt8ra/contract';
import { hasCommand, runCommand } from '../system/run-command.js';

/** The files of a NoCloud seed. JSON is YAML, so that no text of a user can break out of its place. */
export interface SeedFiles {
  readonly 'meta-data': string;
  readonly 'user-data': string;
  /** Of the site's operator; cloud-init lets the user data go before it. */
  readonly 'vendor-data'?: string;
  readonly 'network-config': string;
}

/**
 * What a guest is told about itself. Keys go into meta-data, where cloud-init gives them to the default user whatever form the user data
 * has; user data and vendor data are passed on untouched. `mtu` answers the MTU of a network by its key.
 */
export function seedFiles(instance: Pick<DesiredInstance, 'seed' | 'nics'>, mtu: (networkKey: string) => number | undefined): SeedFiles {
  const { instanceId, hostname, userData, vendorData, sshKeys } = instance.seed;
  const metaData = { 'instance-id': instanceId, 'local-hostname': hostname, ...(sshKeys.length === 0 ? {} : { 'public-keys': sshKeys }) };
  const ethernets = instance.nics.map((nic, index) => {
    const networkMtu = mtu(nic.networkKey);
    const routes = [
      ...(nic.gateway4 === undefined ? [] : [{ to: '0.0.0.0/0', via: nic.gateway4 }]),
      ...(nic.gateway6 === undefined ? [] : [{ to: '::/0', via: nic.gateway6 }]),
    ];
    return [
      `nic${index}`,
      {
        match: { macaddress: nic.mac },
        ...(networkMtu === undefined ? {} : { mtu: networkMtu }),
        dhcp4: false,
        dhcp6: false,
        addresses: nic.addresses,
        ...(routes.length === 0 ? {} : { routes }),
        ...(nic.nameservers.length === 0 ? {} : { nameservers: { addresses: nic.nameservers } }),
      },
    ];
  });
  return {
    'meta-data': `${JSON.stringify(metaData, null, 1)}\n`,
    'user-data': userData ?? '#cloud-config\n{}\n',
    ...(vendorData === undefined ? {} : { 'vendor-data': vendorData }),
    'network-config': `${JSON.stringify({ version: 2, ethernets: Object.fromEntries(ethernets) }, null, 1)}\n`,
  };
}

/** Writes the seed as an ISO 9660 image with the label that cloud-init looks for. Raises Problem unsupported without a program that makes one. */
export async function writeSeedImage(path: string, files: SeedFiles): Promise<void> {
  const maker = await isoMaker();
  const folder = await mkdtemp(join(dirname(path), '.seed-'));
  try {
    for (const [name, content] of Object.entries(files)) await writeFile(join(folder, name), content, { mode: 0o600 });
    const image = `${path}.new`;
    const make = async () => {
      await rm(image, { force: true });
      await runCommand(maker.command, [...maker.args, '-quiet', '-output', image, '-volid', 'cidata', '-joliet', '-rock', folder]);
    };
    // Debian 12's xorriso was seen to die of a SIGSEGV on a busy machine, once in some thousand runs.
    await make().catch(make);
    await rename(image, path);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function isoMaker(): Promise<{ command: string; args: readonly string[] }> {
  if (await hasCommand('genisoimage')) return { command: 'genisoimage', args: [] };
  if (await hasCommand('xorriso')) return { command: 'xorriso', args: ['-as', 'mkisofs'] };
  throw new Problem(
    'unsupported',
    'neither genisoimage nor xorriso is installed on this host; one of them makes the guest’s seed (apt install genisoimage)',
  );
}
