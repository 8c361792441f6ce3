import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
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

  it('passes user data on untouched and gives keys beside it', () => {
    const seed = { ...instance.seed, userData: '#!/bin/sh\necho "hello"\n', sshKeys: ['ssh-ed25519 AAAA me"\nhostname: evil'] };
    const files = seedFiles({ ...instance, seed }, () => undefined);
    expect(files['user-data']).toBe(seed.userData);
    expect(JSON.parse(files['meta-data'])).toMatchObject({ 'public-keys': seed.sshKeys, 'local-hostname': 'i1' });
  });

  it('becomes an image with the label and the files that cloud-init looks for', async (context) => {
    if (!(await hasCommand('xorriso'))) context.skip('xorriso is not installed to read the image back');
    const folder = mkdtempSync(join(tmpdir(), 'v8s-'));
    try {
      const path = join(folder, 'seed.iso');
      await writeSeedImage(
        path,
        seedFiles(instance, () => 1400),
      );
      expect(readdirSync(folder)).toEqual(['seed.iso']);
      const listing = execFileSync('xorriso', ['-indev', path, '-toc', '-ls', '/'], {
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'pipe'],
      });
      expect(listing).toContain('cidata');
      for (const name of ['meta-data', 'user-data', 'network-config']) expect(listing).toContain(`'${name}'`);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
});
