import { describe, expect, it } from 'vitest';
import type { SiteHealth } from '../../accounts/site-health.js';
import type { StoreReader } from '../../resources/store.js';
import type { StoredResource } from '../../resources/stored-resource.js';
import { createAccountBehaviour } from './account.js';

const resource = {
  uid: 'res_1',
  address: { name: 'acme' },
  spec: { providerRef: 'providers/p', driver: 'plain' },
} as unknown as StoredResource<never, never>;
const well: SiteHealth = { healthy: true, observedAt: '2026-01-01T00:00:09.000Z' };

async function statusWith(sites: Readonly<Record<string, SiteHealth>>): Promise<unknown> {
  const used = Object.keys(sites).map((name) => ({ address: { name } }));
  const reader = { usersOf: async () => used } as unknown as StoreReader;
  const healths = {
    of: async (names: readonly string[]) => new Map(names.flatMap((name) => (sites[name] ? [[name, sites[name]] as const] : []))),
  };
  const behaviour = createAccountBehaviour([{ name: 'plain', lacks: { disks: 'it sells no copies' } }], healths);
  return (await behaviour.present?.(reader, [resource]))?.[0];
}

describe('an account', () => {
  it('tells what its driver can do, and why not the rest', async () => {
    expect(await statusWith({})).toEqual({
      facets: [
        { name: 'instances', supported: true },
        { name: 'blockStorages', supported: true },
        { name: 'networks', supported: true },
        { name: 'securityGroups', supported: true },
        { name: 'disks', supported: false, reason: 'it sells no copies' },
        { name: 'hosts', supported: true },
        { name: 'streams', supported: true },
        { name: 'backups', supported: true },
        { name: 'snapshots', supported: true },
      ],
    });
  });

  it('is healthy while one of its sites is, as of the oldest look, and names what is wrong with the others', async () => {
    const broken: SiteHealth = { healthy: false, reason: 'no host is connected', observedAt: '2026-01-01T00:00:02.000Z' };
    expect(await statusWith({ north: well, south: broken })).toMatchObject({
      healthy: { value: true, source: 'account/acme', observedAt: broken.observedAt, reason: 'south: no host is connected' },
    });
    expect(await statusWith({ south: broken })).toMatchObject({ healthy: { value: false, reason: 'south: no host is connected' } });
    expect(await statusWith({ north: well })).toMatchObject({ healthy: { value: true, observedAt: well.observedAt } });
  });
});
