import type { Migration } from '@virt8ra/engine';

export const publicIpMigrations: readonly Migration[] = [
  {
    name: 'public-ip-0001-address',
    sql: `
      -- One row for each public address that is held, whichever site it is of: no address is ever given twice.
      create table public_address (
        address inet primary key,
        site text collate "C" not null,
        -- By URN: an address is taken before the row of its public IP exists, and given back with it.
        public_ip text collate "C" not null unique
      );
      create index public_address_site on public_address (site);`,
  },
];
