import { expect, it } from 'vitest';
import { type ConfigInput, parseConfig } from './config.js';

const sha = 'ab'.repeat(32);
const parse = (input: ConfigInput, environment: Record<string, string> = {}, uid = 1000) =>
  parseConfig(input, environment, () => 'token-from-a-file\n', uid);

it('puts root’s state where system services keep it and a user’s where the user keeps it', () => {
  expect(parse({}, {}, 0)).toMatchObject({ stateDirectory: '/var/lib/virt8ra-agent', root: true });
  expect(parse({}, { XDG_STATE_HOME: '/home/ada/.state' })).toMatchObject({
    stateDirectory: '/home/ada/.state/virt8ra-agent',
    root: false,
  });
  expect(parse({}, { VIRT8RA_AGENT_STATE: '/srv/a' }).stateDirectory).toBe('/srv/a');
  expect(parse({ state: '/srv/b' }, { VIRT8RA_AGENT_STATE: '/srv/a' }).stateDirectory).toBe('/srv/b');
});

it('keeps socket paths short whatever the state directory is called', () => {
  const { runtimeDirectory } = parse({ state: `/srv/${'x'.repeat(200)}` }, {}, 0);
  expect(runtimeDirectory.length + '/0123456789ab/mover'.length).toBeLessThan(107);
});

it('takes enrolment options together, with colons in the fingerprint and the token from a file', () => {
  const config = parse({ server: 'https://c:7443', 'token-file': '/t', 'ca-sha256': sha.toUpperCase().replaceAll(/(..)(?=.)/g, '$1:') });
  expect(config.enrol).toMatchObject({ token: 'token-from-a-file', caSha256: sha });
});

it.each([
  [{ server: 'https://c' }, '--token'],
  [{ server: 'https://c', token: 'x' }, '--ca-sha256'],
  [{ server: 'http://c', token: 'x', 'ca-sha256': sha }, 'https://'],
  [{ server: 'c:7443', token: 'x', 'ca-sha256': sha }, '--server'],
  [{ server: 'https://c', token: 'x', 'ca-sha256': 'abc' }, '64'],
  [{ network: 'magic' }, '--network'],
  [{ 'data-ports': '90-80' }, '--data-ports'],
  [{ storage: 'thin-pool:vg0' }, '--storage'],
  [{ storage: 'thin-pool:vg0/guests' }, 'needs root'],
  [{ 'vcpu-per-thread': '0' }, '--vcpu-per-thread'],
  [{ 'log-level': 'loud' }, '--log-level'],
  [{ 'pci-devices': '10de' }, '--pci-devices'],
  [{ 'pci-devices': '10de:27b8=L4' }, 'MODEL/GB'],
  [{ 'pci-devices': '1af4:1050=L4/24' }, '1af4'],
  [{ 'pci-devices': 'class:0302=L4/24' }, '--pci-devices'],
  [{ 'pci-release': 'never' }, '--pci-release'],
] as [ConfigInput, string][])('refuses %j and names what is wrong', (input, named) => {
  expect(() => parse(input)).toThrow(named);
});

it('takes PCI devices by id with the name of a GPU, by address and by class, and offers none by itself', () => {
  expect(parse({}).pciDevices).toEqual([]);
  expect(parse({ 'pci-devices': '10DE:27B8=L4/24, 41:00.1,0001:41:00.1,class:0108' }).pciDevices).toEqual([
    { by: 'id', id: '10de:27b8', gpu: { model: 'L4', ram: 24 } },
    { by: 'address', address: '0000:41:00.1' },
    { by: 'address', address: '0001:41:00.1' },
    { by: 'class', class: '0108' },
  ]);
});
