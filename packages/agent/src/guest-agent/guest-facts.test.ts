import { GuestFacts } from '@virt8ra/contract';
import { Value } from 'typebox/value';
import { describe, expect, it } from 'vitest';
import { guestFactsFrom, readGuestFacts } from './guest-facts.js';

const nothing = { hostName: undefined, os: undefined, interfaces: undefined, fileSystems: undefined };

describe('what a guest tells of itself', () => {
  it('is its name, its system, its addresses and its file systems', () => {
    expect(
      guestFactsFrom({
        hostName: { 'host-name': 'web-1' },
        os: { id: 'debian', 'pretty-name': 'Debian GNU/Linux 12 (bookworm)', 'kernel-release': '6.1.0' },
        interfaces: [
          { name: 'lo', 'ip-addresses': [{ 'ip-address': '127.0.0.1', prefix: 8 }] },
          {
            name: 'eth0',
            'hardware-address': '02:00:AA:00:00:01',
            'ip-addresses': [
              { 'ip-address': '10.0.0.7', 'ip-address-type': 'ipv4', prefix: 24 },
              { 'ip-address': 'fd00::7', 'ip-address-type': 'ipv6', prefix: 64 },
            ],
          },
        ],
        fileSystems: [
          { mountpoint: '/', type: 'ext4', 'total-bytes': 1000, 'used-bytes': 10, disk: [] },
          { mountpoint: '/proc', type: 'proc' },
        ],
      }),
    ).toEqual({
      hostName: 'web-1',
      os: { name: 'Debian GNU/Linux 12 (bookworm)', kernel: '6.1.0' },
      interfaces: [{ name: 'eth0', mac: '02:00:aa:00:00:01', addresses: ['10.0.0.7/24', 'fd00::7/64'] }],
      fileSystems: [{ mount: '/', type: 'ext4', sizeBytes: 1000, usedBytes: 10 }],
    });
  });

  it('never is more than it may be, nor anything that harms who shows it, whatever the guest says', () => {
    const long = '\u001b[2J\u202e𐏿\ud800'.repeat(5_000);
    const many = Array.from({ length: 5_000 }, (_, index) => ({
      name: `${long}${index}`,
      'hardware-address': long,
      'ip-addresses': Array.from({ length: 1_000 }, (_, at) => ({
        'ip-address': at % 2 === 0 ? `10.0.${index % 256}.1` : `fe80::1%${long}`,
        prefix: at,
      })),
      mountpoint: `/${long}${index}`,
      type: long,
      'total-bytes': 2 ** 53 - 1,
      'used-bytes': index,
    }));
    const hostile: unknown[] = [
      long,
      many,
      { 'host-name': long, 'pretty-name': long, __proto__: { name: 1 } },
      null,
      7,
      [[[[]]]],
      [null, 3, 'x'],
    ];
    for (const word of hostile) {
      const facts = guestFactsFrom({ hostName: word, os: word, interfaces: word, fileSystems: word });
      expect(Value.Check(GuestFacts, facts)).toBe(true);
      const text = JSON.stringify(facts);
      expect(text.length).toBeLessThan(16_384);
      expect(text).not.toMatch(/[\p{C}]|\\u/u);
    }
    expect(guestFactsFrom({ ...nothing, interfaces: many }).interfaces).toHaveLength(16);
    expect(guestFactsFrom({ ...nothing, fileSystems: [{ mountpoint: '/', 'total-bytes': -1, 'used-bytes': 1e300 }] }).fileSystems).toEqual(
      [],
    );
  });

  it('is what it answers in its time; nothing, when it answers nothing', async () => {
    expect(
      await readGuestFacts({
        ask: async (command) => {
          if (command === 'guest-get-host-name') return { 'host-name': 'web' };
          throw new Error('it is disabled');
        },
      }),
    ).toEqual({ hostName: 'web' });
    expect(await readGuestFacts({ ask: async () => await Promise.reject(new Error('gone')) })).toBeUndefined();
  });
});
