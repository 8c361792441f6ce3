import { account, addressFromReference, Problem, type SiteSpec, site } from '@virt8ra/contract';
import type { Connection, Driver } from '@virt8ra/driver';
import type { Static } from 'typebox';
import type { StoreReader } from '../resources/store.js';

/** Connections to sites through the drivers of their accounts, opened on first use and kept. */
export interface SiteConnections {
  /** Raises `not-found` for an unknown site, `unavailable` when its account cannot be reached. */
  connectionOf(site: string): Promise<Connection>;
  close(): Promise<void>;
}

export function createSiteConnections(options: {
  readonly store: StoreReader;
  readonly drivers: readonly Driver<unknown>[];
}): SiteConnections {
  const { store, drivers } = options;
  const open = new Map<string, Promise<Connection>>();

  async function connect(name: string): Promise<Connection> {
    const found = await store.get<SiteSpec>(site, { name });
    if (found === undefined) throw new Problem('not-found', `there is no site ${name}`);
    const accountAddress = addressFromReference(account, found.spec.accountRef, {}, '/spec/accountRef');
    const through = await store.get<Static<typeof account.spec>>(account, accountAddress);
    if (through === undefined) throw new Problem('not-found', `site ${name} has no account ${accountAddress.name}`);
    const driver = drivers.find((candidate) => candidate.name === through.spec.driver);
    if (driver === undefined) throw new Problem('unsupported', `no driver ${through.spec.driver} is built in`);
    return driver.connect(driver.parse({ site: name }));
  }

  return {
    connectionOf(name) {
      const existing = open.get(name);
      if (existing !== undefined) return existing;
      const opening = connect(name);
      open.set(name, opening);
      opening.catch(() => open.delete(name));
      return opening;
    },
    async close() {
      const connections = await Promise.allSettled(open.values());
      open.clear();
      await Promise.all(connections.map((result) => (result.status === 'fulfilled' ? result.value.close() : undefined)));
    },
  };
}
