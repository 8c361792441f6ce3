import { account, addressFromReference, Problem, type SiteSpec, site } from '@virt8ra/contract';
import type { Connection, Driver, SiteConfiguration } from '@virt8ra/driver';
import type { Log } from '@virt8ra/engine';
import type { Static } from 'typebox';
import type { StoreReader } from '../resources/store.js';
import type { StoredResource } from '../resources/stored-resource.js';
import type { AccountCredentials } from './account-credentials.js';

type AccountSpec = Static<typeof account.spec>;

/** Connections to sites through the drivers of their accounts, opened on first use and kept while the site is there. */
export interface SiteConnections {
  /** Raises `not-found` for an unknown site, `unavailable` when its account cannot be reached. */
  connectionOf(site: string): Promise<Connection>;
  close(): Promise<void>;
}

export function createSiteConnections(options: {
  readonly store: StoreReader;
  readonly drivers: readonly Driver<unknown>[];
  readonly credentials: Pick<AccountCredentials, 'read' | 'version'>;
  readonly log: Log;
}): SiteConnections {
  const { store, drivers, credentials, log } = options;
  /** By name. `rests` is all that the connection rests on, so that it is opened anew when that has changed; the site's uid alone where the driver is told no more. */
  const open = new Map<string, { readonly uid: string; readonly rests: string | undefined; readonly connection: Promise<Connection> }>();

  async function accountOf({ address: { name }, spec }: StoredResource<SiteSpec>): Promise<StoredResource<AccountSpec>> {
    const address = addressFromReference(account, spec.accountRef, {}, '/spec/accountRef');
    const through = await store.get<AccountSpec>(account, address);
    if (through === undefined) throw new Problem('not-found', `site ${name} has no account ${address.name}`);
    return through;
  }

  function driverOf({ spec }: StoredResource<AccountSpec>): Driver<unknown> {
    const driver = drivers.find((candidate) => candidate.name === spec.driver);
    if (driver === undefined) throw new Problem('unsupported', `no driver ${spec.driver} is built in`);
    return driver;
  }

  async function restsOn(site: StoredResource<SiteSpec>, through: StoredResource<AccountSpec>): Promise<string | undefined> {
    if (driverOf(through).access === undefined) return undefined;
    return [site.resourceVersion, through.uid, through.resourceVersion, await credentials.version(through.uid)].join(' ');
  }

  async function connect({ address: { name }, spec }: StoredResource<SiteSpec>, through: StoredResource<AccountSpec>): Promise<Connection> {
    const driver = driverOf(through);
    const given = driver.access === undefined ? undefined : await credentials.read(through.uid);
    const configuration: SiteConfiguration = {
      site: name,
      settings: { ...through.spec.settings, ...spec.settings },
      ...(given === undefined ? {} : { credentials: given }),
    };
    return await driver.connect(driver.parse(configuration));
  }

  /** Whoever holds the connection of a site that is gone may still use it; nobody is given it any more. */
  function forget(name: string): void {
    const held = open.get(name);
    open.delete(name);
    held?.connection
      .then(async (connection) => await connection.close())
      .catch((error: unknown) => log.debug('the connection of a site that is gone did not close', { site: name, error: String(error) }));
  }

  return {
    async connectionOf(name) {
      const found = await store.get<SiteSpec>(site, { name });
      const held = open.get(name);
      if (held !== undefined && held.uid === found?.uid) {
        const same = held.rests === undefined || held.rests === (await restsOn(found, await accountOf(found)));
        if (same) return await held.connection;
      }
      if (found === undefined) {
        forget(name);
        throw new Problem('not-found', `there is no site ${name}`);
      }
      const through = await accountOf(found);
      const rests = await restsOn(found, through);
      // Somebody may have opened it meanwhile.
      const other = open.get(name);
      if (other !== undefined && other !== held && other.uid === found.uid && other.rests === rests) return await other.connection;
      forget(name);
      const opening = { uid: found.uid, rests, connection: connect(found, through) };
      open.set(name, opening);
      opening.connection.catch(() => {
        if (open.get(name) === opening) open.delete(name);
      });
      return await opening.connection;
    },
    async close() {
      const connections = await Promise.allSettled([...open.values()].map(async ({ connection }) => await connection));
      open.clear();
      await Promise.all(connections.map((result) => (result.status === 'fulfilled' ? result.value.close() : undefined)));
    },
  };
}
