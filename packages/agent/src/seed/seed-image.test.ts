import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, vi } from 'vitest';
import { hasCommand } from '../system/run-command.js';
import { smallInstance } from '../testing/desired-objects.js';
import { seedFiles, writeSeedImage } from './seed-image.js';

const nic = {
  key: 'k',
  networkKey: 'n1',
  mac: '52:54:00:00:00:01',
  addresses: ['10.1.0.5/24', 'fd00::5/64'],
  gateway4: '10.1.0.1',
  gateway6: 'fd00::1',
  nameservers: ['10.1.0.1'],
};
const instance = smallInstance('i1', 'v1', { epoch: 1, holder: 'a' }, { nics: [nic] });

describe('a seed', () => {
  it('tells identity, addresses by MAC, routes, name servers and MTU', () => {
    const files = seedFiles(instance, () => 1400);
    expect(JSON.parse(files['meta-data'])).toEqual({ 'instance-id': 'iid-i1', 'local-hostname': 'i1' });
    expect(JSON.parse(files['network-config'])).toEqual({
      version: 2,
      ethernets: {
        nic0: {
          match: { macaddress: '52:54:00:00:00:01' },
          mtu: 1400,
          dhcp4: false,
          dhcp6: false,
          addresses: ['10.1.0.5/24', 'fd00::5/64'],
          routes: [
            { to: '0.0.0.0/0', via: '10.1.0.1' },
            { to: '::/0', via: 'fd00::1' },
          ],
          nameservers: { addresses: ['10.1.0.1'] },
        },
      },
    });
    expect(files['user-data'].split('\n')[0]).toBe('#cloud-config');
  });

  it('has a file for what the operator of the site says, if that is anything', () => {
    const vendorData = '#cloud-config\nntp: {servers: [10.0.0.1]}\n';
    expect(seedFiles({ ...instance, seed: { ...instance.seed, vendorData } }, () => undefined)['vendor-data']).toBe(vendorData);
    expect(seedFiles(instance, () => undefined)).not.toHaveProperty('vendor-data');
  });

  it('passes user data on untouched and gives keys beside it', () => {
    const seed = { ...instance.seed, userData: '#!/bin/sh\necho "hello"\n', sshKeys: ['ssh-ed25519 AAAA me"\nhostname: evil'] };
    const files = seedFiles({ ...instance, seed }, () => undefined);
    expect(files['user-data']).toBe(seed.userData);
    expect(JSON.parse(files['meta-data'])).toMatchObject({ 'public-keys': seed.sshKeys, 'local-hostname': 'i1' });
  });

  it('becomes an image with the label and the files that cloud-init looks for', async (context) => {
    if (!(await hasCommand('isoinfo'))) context.skip('genisoimage is not installed, whose isoinfo reads the image back');
    const folder = mkdtempSync(join(tmpdir(), 'v8s-'));
    try {
      const path = join(folder, 'seed.iso');
      await writeSeedImage(
        path,
        seedFiles({ ...instance, seed: { ...instance.seed, vendorData: '#cloud-config' } }, () => 1400),
      );
      expect(readdirSync(folder)).toEqual(['seed.iso']);
      expect(execFileSync('isoinfo', ['-d', '-i', path], { encoding: 'utf8' })).toContain('Volume id: cidata\n');
      const listing = execFileSync('isoinfo', ['-J', '-f', '-i', path], { encoding: 'utf8' });
      expect(listing.trim().split('\n').sort()).toEqual(['/meta-data', '/network-config', '/user-data', '/vendor-data']);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });

  it('is made at the second attempt when the program crashed at the first', async (context) => {
    const makers = ['genisoimage', 'xorriso'];
    if (!(await Promise.all(makers.map(hasCommand))).includes(true)) context.skip('no program that makes the image is installed');
    const folder = mkdtempSync(join(tmpdir(), 'v8s-'));
    const program = `#!/bin/sh
[ -e ${folder}/crashed ] || { touch ${folder}/crashed; kill -SEGV $$; }
while [ "$1" != -output ]; do shift; done
echo made > "$2"
`;
    for (const name of makers) writeFileSync(join(folder, name), program, { mode: 0o755 });
    vi.stubEnv('PATH', `${folder}:${process.env['PATH']}`);
    try {
      const path = join(folder, 'seed.iso');
      await writeSeedImage(
        path,
        seedFiles(instance, () => 1400),
      );
      expect(readFileSync(path, 'utf8')).toBe('made\n');
      expect(readdirSync(folder).sort()).toEqual(['crashed', 'genisoimage', 'seed.iso', 'xorriso']);
    } finally {
      vi.unstubAllEnvs();
      rmSync(folder, { recursive: true, force: true });
    }
  });
});
