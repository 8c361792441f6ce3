import { describe, expect, it } from 'vitest';
import { createEgress } from './egress.js';

const closed = createEgress({ allowPrivate: false, allow: [] });
const opened = createEgress({ allowPrivate: true, allow: [] });

describe('egress', () => {
  it.each(['8.8.8.8', '93.184.216.34', '172.32.0.1', '11.0.0.1', '2606:4700::1111', '2a00:1450:4001::1'])('lets %s pass', (address) => {
    expect(() => closed.assertAddress(address)).not.toThrow();
  });

  it.each([
    '127.0.0.1',
    '127.8.8.8',
    '10.1.2.3',
    '172.16.0.1',
    '172.31.255.255',
    '192.168.1.1',
    '100.64.0.1',
    '::1',
    'fc00::1',
    'fd12:3456::1',
    '::ffff:127.0.0.1',
    '::ffff:10.0.0.1',
  ])('closes %s until private addresses are allowed', (address) => {
    expect(() => closed.assertAddress(address)).toThrow('may not reach');
    expect(() => opened.assertAddress(address)).not.toThrow();
  });

  it.each([
    '0.0.0.0',
    '169.254.169.254',
    '::ffff:169.254.169.254',
    'fe80::1',
    '224.0.0.1',
    '255.255.255.255',
    '100.100.100.200',
    'fd00:ec2::254',
    '::',
    'ff02::1',
    '64:ff9b::7f00:1',
    '2002:7f00:1::',
    '2001::1',
    'no address',
  ])('closes %s always', (address) => {
    for (const egress of [closed, opened]) expect(() => egress.assertAddress(address)).toThrow('may not reach');
  });

  it('opens exactly what the operator names', () => {
    const egress = createEgress({ allowPrivate: false, allow: ['10.0.0.0/24', '169.254.169.254'] });

    for (const address of ['10.0.0.1', '169.254.169.254']) expect(() => egress.assertAddress(address)).not.toThrow();
    for (const address of ['10.0.1.1', '127.0.0.1']) expect(() => egress.assertAddress(address)).toThrow('may not reach');
    expect(() => createEgress({ allowPrivate: false, allow: ['10.0.0.0/64'] })).toThrow('no address range');
  });

  it('checks every address a name has before it answers one', async () => {
    const look = async (egress: typeof closed): Promise<unknown> =>
      await new Promise((resolve) => egress.lookup('localhost', { all: true }, (error, addresses) => resolve(error ?? addresses)));

    expect(await look(closed)).toMatchObject({ kind: 'validation' });
    expect(await look(opened)).toEqual(
      expect.arrayContaining([expect.objectContaining({ address: expect.stringMatching(/^(127\.0\.0\.1|::1)$/) })]),
    );
  });
});
