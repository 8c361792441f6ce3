import { type Id, Problem } from '@virt8ra/contract';
import type { Migration } from '@virt8ra/engine';
import type { PoolClient } from 'pg';
import { addressesBeside, formatAddress, type IpAddress, type IpRange, parseAddress } from '../network/index.js';

/**
 * Addresses of one subnet for the whole region. What is free is kept as ranges, so that finding, taking and giving back an address cost
 * an index look-up however full the subnet is. A NIC is known by its URN: addresses are given before its row exists, and freed with it.
 */

export const nicMigrations: readonly Migration[] = [
  {
    name: 'nic-0001-address',
    sql: `
      create table nic_address (
        subnet_uid text collate "C" not null,
        address inet not null,
        nic text collate "C" not null,
        primary key (subnet_uid, address)
      );
      create index nic_address_of on nic_address (nic);
      -- Made when a subnet gives its first address; never touching ranges, both ends inclusive.
      create table nic_free_range (
        subnet_uid text collate "C" not null,
        first inet not null,
        last inet not null,
        primary key (subnet_uid, first)
      );
      create table nic_mac (
        nic text collate "C" primary key,
        mac text not null unique
      );`,
  },
];

export interface AddressSpace {
  readonly uid: Id<'resource'>;
  readonly name: string;
  /** With their gateways. */
  readonly ranges: readonly { readonly range: IpRange; readonly address: string }[];
}

/**
 * Gives a NIC exactly `wanted` (the unspecified address of a family asks for any free one), in that order. What it holds already is kept
 * where it fits, the rest is given back. Raises `validation` with the pointer for an address outside of the subnet or reserved in it,
 * `conflict` for one in use and `exhausted` when none is left.
 */
export async function assignAddresses(
  client: PoolClient,
  space: AddressSpace,
  nic: string,
  wanted: readonly string[],
): Promise<readonly string[]> {
  const asked = wanted.map((text, index) => readWanted(space, text, `/spec/addresses/${index}`));
  await client.query(`select pg_advisory_xact_lock(hashtextextended('subnet:' || $1, 0))`, [space.uid]);
  await openSpace(client, space);
  const held = new Map((await heldBy(client, space.uid, nic)).map((address) => [formatAddress(address), address]));
  const given = new Set<string>();
  const explicit = new Set(asked.flatMap(({ address }) => (address.value === 0n ? [] : [formatAddress(address)])));
  const spare = [...held.values()].filter((address) => !explicit.has(formatAddress(address)));
  const answer: string[] = [];
  // Named ones first, so that none of them is given away as any free one.
  for (const { address, pointer } of asked) {
    const text = formatAddress(address);
    if (address.value === 0n) continue;
    if (given.has(text)) throw new Problem('validation', `${text} is named twice`, { sources: [{ pointer }] });
    given.add(text);
    if (!held.has(text)) await takeNamed(client, space, nic, text, pointer);
  }
  for (const { address, pointer } of asked) {
    if (address.value !== 0n) {
      answer.push(formatAddress(address));
      continue;
    }
    const index = spare.findIndex(({ family }) => family === address.family);
    const [kept] = index < 0 ? [] : spare.splice(index, 1);
    answer.push(kept === undefined ? await takeAny(client, space, nic, address.family, pointer) : formatAddress(kept));
  }
  for (const address of spare) await giveBack(client, space.uid, formatAddress(address));
  return answer;
}

/** Gives back all a NIC has: its addresses and its MAC. */
export async function freeNic(client: PoolClient, subnetUid: Id<'resource'>, nic: string): Promise<void> {
  await client.query(`select pg_advisory_xact_lock(hashtextextended('subnet:' || $1, 0))`, [subnetUid]);
  for (const address of await heldBy(client, subnetUid, nic)) await giveBack(client, subnetUid, formatAddress(address));
  await client.query('delete from nic_mac where nic = $1', [nic]);
}

/** After the last NIC of a subnet, with the subnet. */
export async function forgetAddressSpace(client: PoolClient, subnetUid: Id<'resource'>): Promise<void> {
  await client.query('delete from nic_free_range where subnet_uid = $1', [subnetUid]);
}

function readWanted(space: AddressSpace, text: string, pointer: string): { readonly address: IpAddress; readonly pointer: string } {
  const refuse = (why: string): Problem => new Problem('validation', why, { sources: [{ pointer }] });
  const address = parseAddress(text);
  if (address === undefined) throw refuse(`${JSON.stringify(text)} is not an IP address; 0.0.0.0 asks for any free one`);
  const found = space.ranges.find(({ range }) => range.family === address.family);
  if (found === undefined) throw refuse(`subnet ${space.name} has no IPv${address.family} range`);
  if (address.value === 0n) return { address, pointer };
  const { range } = found;
  if (address.value < range.first || address.value > range.last) throw refuse(`${text} is not in subnet ${space.name}`);
  const { first, last } = addressesBeside(range, found.address);
  if (address.value < first || address.value > last) throw refuse(`${text} is reserved in subnet ${space.name}`);
  return { address, pointer };
}

async function openSpace(client: PoolClient, { uid, ranges }: AddressSpace): Promise<void> {
  const known = await client.query(
    `select 1 where exists (select 1 from nic_free_range where subnet_uid = $1) or exists (select 1 from nic_address where subnet_uid = $1)`,
    [uid],
  );
  if (known.rowCount !== 0) return;
  for (const { range, address } of ranges) {
    const { first, last } = addressesBeside(range, address);
    await addFree(client, uid, formatAddress({ family: range.family, value: first }), formatAddress({ family: range.family, value: last }));
  }
}

async function heldBy(client: PoolClient, subnetUid: Id<'resource'>, nic: string): Promise<readonly IpAddress[]> {
  const { rows } = await client.query<{ address: string }>(
    'select host(address) as address from nic_address where nic = $2 and subnet_uid = $1 order by nic_address.address',
    [subnetUid, nic],
  );
  return rows.flatMap(({ address }) => parseAddress(address) ?? []);
}

async function takeAny(client: PoolClient, space: AddressSpace, nic: string, family: 4 | 6, pointer: string): Promise<string> {
  const bounds = family === 4 ? ['0.0.0.0', '255.255.255.255'] : ['::', 'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff'];
  const { rows } = await client.query<{ address: string }>(
    `select host(first) as address from nic_free_range where subnet_uid = $1 and first >= $2::inet and first <= $3::inet order by first limit 1`,
    [space.uid, ...bounds],
  );
  const address = rows[0]?.address;
  if (address === undefined) {
    throw new Problem('exhausted', `subnet ${space.name} has no free IPv${family} address left`, { sources: [{ pointer }] });
  }
  const canonical = formatAddress(parseAddress(address) ?? { family, value: 0n });
  await takeNamed(client, space, nic, canonical, pointer);
  return canonical;
}

async function takeNamed(client: PoolClient, space: AddressSpace, nic: string, address: string, pointer: string): Promise<void> {
  const { rows } = await client.query<{ first: string; last: string; before: boolean; after: boolean }>(
    `delete from nic_free_range where subnet_uid = $1 and last >= $2::inet and first = (
       select max.first from nic_free_range as max where max.subnet_uid = $1 and max.first <= $2::inet order by max.first desc limit 1)
     returning host(first) as first, host(last) as last, first < $2::inet as before, last > $2::inet as after`,
    [space.uid, address],
  );
  const range = rows[0];
  if (range === undefined) {
    throw new Problem('conflict', `${address} is in use in subnet ${space.name}; 0.0.0.0 asks for any free one`, {
      sources: [{ pointer }],
    });
  }
  if (range.before) {
    await client.query('insert into nic_free_range (subnet_uid, first, last) values ($1, $2::inet, $3::inet - 1)', [
      space.uid,
      range.first,
      address,
    ]);
  }
  if (range.after) {
    await client.query('insert into nic_free_range (subnet_uid, first, last) values ($1, $2::inet + 1, $3::inet)', [
      space.uid,
      address,
      range.last,
    ]);
  }
  await client.query('insert into nic_address (subnet_uid, address, nic) values ($1, $2, $3)', [space.uid, address, nic]);
}

/** Joins the free ranges on both sides. */
async function giveBack(client: PoolClient, subnetUid: Id<'resource'>, address: string): Promise<void> {
  await client.query('delete from nic_address where subnet_uid = $1 and address = $2::inet', [subnetUid, address]);
  const { rows: before } = await client.query<{ first: string }>(
    `delete from nic_free_range where subnet_uid = $1 and last = $2::inet - 1 and first = (
       select max.first from nic_free_range as max where max.subnet_uid = $1 and max.first < $2::inet order by max.first desc limit 1)
     returning host(first) as first`,
    [subnetUid, address],
  );
  const { rows: after } = await client.query<{ last: string }>(
    'delete from nic_free_range where subnet_uid = $1 and first = $2::inet + 1 returning host(last) as last',
    [subnetUid, address],
  );
  await addFree(client, subnetUid, before[0]?.first ?? address, after[0]?.last ?? address);
}

async function addFree(client: PoolClient, subnetUid: Id<'resource'>, first: string, last: string): Promise<void> {
  await client.query('insert into nic_free_range (subnet_uid, first, last) values ($1, $2::inet, $3::inet)', [subnetUid, first, last]);
}
