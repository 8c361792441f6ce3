import { Problem } from '@virt8ra/contract';
import { describe, expect, it } from 'vitest';
import type { AccountCredentials } from '../../accounts/account-credentials.js';
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

const noCredentials: AccountCredentials = {
  put: async () => undefined,
  read: async () => undefined,
  version: async () => 0,
  since: async () => new Map(),
};

async function statusWith(sites: Readonly<Record<string, SiteHealth>>): Promise<unknown> {
  const used = Object.keys(sites).map((name) => ({ address: { name } }));
  const reader = { usersOf: async () => used } as unknown as StoreReader;
  const healths = {
    of: async (names: readonly string[]) => new Map(names.flatMap((name) => (sites[name] ? [[name, sites[name]] as const] : []))),
  };
  const behaviour = createAccountBehaviour([{ name: 'plain', lacks: { disks: 'it sells no copies' } }], healths, noCredentials);
  return (await behaviour.present?.(reader, [resource]))?.[0];
}

describe('an account', () => {
  it('tells what its driver can do, and why not the rest', async () => {
    expect(await statusWith({})).toEqual({
      facets: [
        { name: 'instances', supported: true },
        { name: 'blockStorages', supported: true },
        { name: 'images', supported: true },
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

  it('takes credentials that its driver knows, tells nobody, and says where they are wrong', async () => {
    const kept: unknown[] = [];
    const credentials = { ...noCredentials, put: async (_client: unknown, uid: string, values: unknown) => void kept.push([uid, values]) };
    const refuse = (pointer: string) => () => {
      throw new Problem('validation', `${pointer} is missing`, { sources: [{ pointer }] });
    };
    const access = { checkAccount: refuse('/spec/settings/url'), checkSite: () => undefined, checkCredentials: refuse('/secret') };
    const actOf = (driver: Parameters<typeof createAccountBehaviour>[0][number]) => {
      const act = createAccountBehaviour([driver], { of: async () => new Map() }, credentials).actions?.['credentials'];
      if (act === undefined) throw new Error('no action');
      return async (values: unknown) => await act({ client: {} } as never, resource, {} as never, { values });
    };
    await expect(actOf({ name: 'plain', lacks: {} })({})).rejects.toMatchObject({ sources: [{ pointer: '/values' }] });
    await expect(actOf({ name: 'plain', lacks: {}, access })({})).rejects.toMatchObject({ sources: [{ pointer: '/values/secret' }] });
    expect(kept).toEqual([]);
    expect(
      await actOf({ name: 'plain', lacks: {}, access: { ...access, checkCredentials: () => undefined } })({ secret: 'x' }),
    ).toBeUndefined();
    expect(kept).toEqual([['res_1', { secret: 'x' }]]);
  });
});
