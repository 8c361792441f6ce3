import type { Migration } from '@virt8ra/engine';

export const networkMigrations: readonly Migration[] = [
  {
    name: 'network-0001-vni',
    sql: `
      -- VXLAN identifiers, one per network and region; given when the network is first made somewhere.
      create sequence network_vni_number as integer minvalue 4097 maxvalue 16777215;
      create table network_vni (
        resource_uid text collate "C" primary key,
        vni integer not null unique default nextval('network_vni_number')
      );`,
  },
];
