import { account, addressFromReference, Problem, type SiteSpec, site } from '@virt8ra/contract';
import type { Connection, Driver } from '@virt8ra/driver';
import type { Log } from '@virt8ra/engine';
import type { Static } from 'typebox';
import type { StoreReader } from '../resources/store.js';
import type { StoredResource } from '../resources/stored-resource.js';

/** Connections to sites through the drivers of their accounts, opened on first use and kept while the site is there. */
export interface SiteConnections {
  /** Raises `not-found` for an unknown site, `unavailable` when its account cannot be reached. */
  connectionOf(site: string): Promise<Connection>;
  close(): Promise<void>;
}

export function createSiteConnections(options: {
  readonly store: StoreReader;
  readonly drivers: readonly Driver<unknown>[];
  readonly log: Log;
}): SiteConnections {
  const { store, drivers, log } = options;
  /** By name; `uid` tells a site from an earlier one of the same name. Everything a connection depends on is fixed for a site's life. */
  const open = new Map<string, { readonly uid: string; readonly connection: Promise<Connection> }>();

  async function connect({ address: { name }, spec }: StoredResource<SiteSpec>): Promise<Connection> {
    const accountAddress = addressFromReference(account, spec.accountRef, {}, '/spec/accountRef');
    const through = await store.get<Static<typeof account.spec>>(account, accountAddress);
    if (through === undefined) throw new Problem('not-found', `site ${name} has no account ${accountAddress.name}`);
    const driver = drivers.find((candidate) => candidate.name === through.spec.driver);
    if (driver === undefined) throw new Problem('unsupported', `no driver ${through.spec.driver} is built in`);
    return await driver.connect(driver.parse({ site: name }));
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
      if (held !== undefined && held.uid === found?.uid) return await held.connection;
      forget(name);
      if (found === undefined) throw new Problem('not-found', `there is no site ${name}`);
      const opening = { uid: found.uid, connection: connect(found) };
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
