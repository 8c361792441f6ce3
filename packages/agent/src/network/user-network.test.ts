import { expect, it } from 'vitest';
import { freePort } from './free-port.js';
import { userNetdev } from './user-network.js';

const nic = {
  key: 'k',
  networkKey: 'n',
  mac: '52:54:00:00:00:01',
  addresses: ['fd00::5/64', '10.1.2.5/24'],
  gateway4: '10.1.2.1',
  nameservers: [],
};

it('gives slirp the subnet, gateway and address that the guest expects', () => {
  expect(userNetdev('net0', nic, '127.0.0.1', [{ port: 80, hostPort: 49152 }])).toBe(
    'user,id=net0,ipv6=off,net=10.1.2.0/24,host=10.1.2.1,dns=10.1.2.2,dhcpstart=10.1.2.5,hostfwd=tcp:127.0.0.1:49152-10.1.2.5:80',
  );
});

it('finds a gateway and a resolver that are not the guest', () => {
  const { gateway4: _, ...without } = nic;
  expect(userNetdev('net0', { ...without, addresses: ['10.1.2.1/24'] }, '127.0.0.1', [])).toContain(
    'host=10.1.2.2,dns=10.1.2.3,dhcpstart=10.1.2.1',
  );
});

it('refuses what slirp cannot do', () => {
  expect(() => userNetdev('net0', { ...nic, addresses: ['fd00::5/64'] }, '127.0.0.1', [])).toThrow('no IPv4 address');
  expect(() => userNetdev('net0', { ...nic, addresses: ['10.1.2.5/30'] }, '127.0.0.1', [])).toThrow('between /8 and /28');
});

it('takes no port twice and says when a range is used up', async () => {
  const port = await freePort('127.0.0.1', undefined, new Set());
  const range = { first: port, last: port };
  expect(await freePort('127.0.0.1', range, new Set())).toBe(port);
  await expect(freePort('127.0.0.1', range, new Set([port]))).rejects.toMatchObject({ kind: 'exhausted' });
});
