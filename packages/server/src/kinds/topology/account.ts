import { account, type Observed, Problem, provider, site, toProblem } from '@virt8ra/contract';
import { type Driver, facetNames, type Settings } from '@virt8ra/driver';
import type { Static } from 'typebox';
import type { AccountCredentials } from '../../accounts/account-credentials.js';
import type { SiteHealth, SiteHealths } from '../../accounts/site-health.js';
import type { StoreReader } from '../../resources/store.js';
import type { StoredResource } from '../../resources/stored-resource.js';
import type { KindBehaviour } from '../behaviour.js';

type AccountSpec = Static<typeof account.spec>;

export interface AccountStatus {
  facets?: readonly { readonly name: string; readonly supported: boolean; readonly reason?: string }[];
  healthy?: Observed<boolean> & { readonly reason?: string };
  credentials?: { readonly since: string };
}

type AccountDriver = Pick<Driver<unknown>, 'name' | 'lacks' | 'access'>;

/** Account: our access to a provider through a driver that is built in. */
export function createAccountBehaviour(
  drivers: readonly AccountDriver[],
  healths: SiteHealths,
  credentials: AccountCredentials,
): KindBehaviour<AccountSpec, AccountStatus> {
  return {
    kind: account,
    async admitPut(tx, { next }) {
      const { driver, providerRef, settings } = next.spec;
      const through = drivers.find(({ name }) => name === driver);
      if (through === undefined) {
        const known = drivers.map(({ name }) => name).join(', ');
        throw new Problem('validation', `no driver ${driver} is built in; there is ${known}`, { sources: [{ pointer: '/spec/driver' }] });
      }
      if (through.access !== undefined) through.access.checkAccount(settings ?? {});
      else if (settings !== undefined) throw wrong('/spec/settings', `: driver ${driver} has none`);
      const { reference } = await tx.resolve(provider, providerRef, {}, '/spec/providerRef');
      return { references: [reference], outcome: 'active' };
    },
    async admitDelete(tx, { uid, address }) {
      const [user] = await tx.usersOf(uid, site);
      if (user !== undefined)
        throw new Problem('conflict', `account ${address.name} is used by site ${user.address.name}; delete that first`);
    },
    actions: {
      async credentials(tx, { uid, spec }, _subject, body) {
        const { values } = body as { readonly values: Settings };
        const access = drivers.find(({ name }) => name === spec.driver)?.access;
        if (access === undefined) throw wrong('/values', `: driver ${spec.driver} takes no credentials`);
        try {
          access.checkCredentials(values);
        } catch (thrown) {
          throw underValues(toProblem(thrown));
        }
        await credentials.put(tx.client, uid, values);
      },
    },
    async present(reader, resources) {
      const since = await credentials.since(resources.map(({ uid }) => uid));
      return await Promise.all(resources.map(async (each) => await present(drivers, healths, reader, each, since.get(each.uid))));
    },
  };
}

function wrong(pointer: string, why: string): Problem {
  return new Problem('validation', `${pointer}${why}`, { sources: [{ pointer }] });
}

function underValues({ kind, message, sources }: Problem): Problem {
  return new Problem(kind, `/values${message}`, { sources: sources.map(({ pointer = '' }) => ({ pointer: `/values${pointer}` })) });
}

async function present(
  drivers: readonly AccountDriver[],
  healths: SiteHealths,
  reader: StoreReader,
  { uid, address, spec }: StoredResource<AccountSpec>,
  since: string | undefined,
): Promise<AccountStatus> {
  const driver = drivers.find(({ name }) => name === spec.driver);
  const sites = (await reader.usersOf(uid, site)).map((each) => each.address.name);
  const healthy = healthFrom(address.name, await healths.of(sites));
  return {
    ...(driver === undefined ? {} : { facets: facetsOf(driver) }),
    ...(healthy === undefined ? {} : { healthy }),
    ...(since === undefined ? {} : { credentials: { since } }),
  };
}

function facetsOf({ lacks }: Pick<AccountDriver, 'lacks'>): NonNullable<AccountStatus['facets']> {
  return facetNames.map((name) => {
    const reason = lacks[name];
    return reason === undefined ? { name, supported: true } : { name, supported: false, reason };
  });
}

/** An account works when one of its sites does. As old as the oldest look it rests on. */
function healthFrom(name: string, seen: ReadonlyMap<string, SiteHealth>): AccountStatus['healthy'] {
  const looks = [...seen.values()];
  const [oldest] = looks.map(({ observedAt }) => observedAt).toSorted();
  if (oldest === undefined) return undefined;
  const wrong = [...seen]
    .filter(([, { healthy }]) => !healthy)
    .map(([site, { reason = 'it does not say what is wrong' }]) => `${site}: ${reason}`);
  return {
    value: looks.some(({ healthy }) => healthy),
    source: `account/${name}`,
    observedAt: oldest,
    ...(wrong.length === 0 ? {} : { reason: wrong.join('; ') }),
  };
}
