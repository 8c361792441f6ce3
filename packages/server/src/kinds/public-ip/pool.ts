import { Problem, type SiteSpec } from '@virt8ra/contract';
import type { Queryable } from '@virt8ra/engine';
import type { PoolClient } from 'pg';
import { formatAddress, formatRange, type IpRange, mergeRanges, overlap, parseAddress, rangeFromText } from '../network/index.js';

/** The addresses that public IPs of one site are taken from. What is free is not kept: it is what nobody holds. */

const pointer = '/spec/publicAddresses';

/** The ranges of a site. Raises `validation` with the pointer for what is no address or range, or is none that can be given to anybody. */
export function poolOf({ publicAddresses = [] }: Pick<SiteSpec, 'publicAddresses'>): readonly IpRange[] {
  return publicAddresses.map((text, index) => {
    const at = `${pointer}/${index}`;
    const range = rangeFromText(text, at);
    const refuse = (why: string): Problem => new Problem('validation', `${JSON.stringify(text)} ${why}`, { sources: [{ pointer: at }] });
    if (range === undefined) throw refuse('is neither an address nor a range; write it as 203.0.113.8 or 203.0.113.8/29');
    const useless = unusable.find((each) => overlap(each, range));
    if (useless !== undefined) throw refuse(`holds addresses of ${formatRange(useless)}, which nobody can be reached at`);
    return range;
  });
}

/** What is never an address of somebody: unspecified, loopback, link-local, multicast and reserved. */
const unusable = ['0.0.0.0/8', '127.0.0.0/8', '169.254.0.0/16', '224.0.0.0/3', '::/127', '::ffff:0:0/96', 'fe80::/10', 'ff00::/8'].flatMap(
  (text) => rangeFromText(text, '') ?? [],
);

/** Serialises all that gives and takes addresses of a site, and changes of its pool. */
export async function lockPool(client: PoolClient, site: string): Promise<void> {
  await client.query(`select pg_advisory_xact_lock(hashtextextended('public-addresses:' || $1, 0))`, [site]);
}

/**
 * Gives a public IP the address `wanted`, or any free one of its version; what it holds already is kept where it fits, else given back. Raises
 * `validation` with the pointer for an address outside of the pool, `conflict` for one that is held, `exhausted` when none is left.
 */
export async function takeAddress(
  client: PoolClient,
  {
    site,
    pool,
    family,
    publicIp,
    wanted,
  }: {
    readonly site: string;
    readonly pool: readonly IpRange[];
    readonly family: 4 | 6;
    readonly publicIp: string;
    readonly wanted: string | undefined;
  },
): Promise<string> {
  await lockPool(client, site);
  const ranges = mergeRanges(pool.filter((range) => range.family === family));
  const sources = [{ pointer: '/spec/address' }];
  const held = await heldBy(client, publicIp);
  if (wanted === undefined) {
    if (held !== undefined && held.site === site && isIn(held.address, ranges)) return held.address;
    await giveAddressBack(client, publicIp);
    const free = await firstFree(client, ranges);
    if (free === undefined) throw new Problem('exhausted', `site ${site} has no free public IPv${family} address left`);
    await client.query('insert into public_address (address, site, public_ip) values ($1, $2, $3)', [free, site, publicIp]);
    return free;
  }
  if (held?.address === wanted && held.site === site) return wanted;
  if (!isIn(wanted, ranges)) {
    const given = ranges.length === 0 ? 'it has none of that version' : `its own are ${ranges.map(formatRange).join(', ')}`;
    throw new Problem('validation', `${wanted} is no public address of site ${site}; ${given}`, { sources });
  }
  await giveAddressBack(client, publicIp);
  const { rowCount } = await client.query(
    'insert into public_address (address, site, public_ip) values ($1, $2, $3) on conflict (address) do nothing',
    [wanted, site, publicIp],
  );
  if (rowCount === 0)
    throw new Problem('conflict', `${wanted} is held by another public IP; without address any free one is given`, { sources });
  return wanted;
}

export async function giveAddressBack(client: Queryable, publicIp: string): Promise<void> {
  await client.query('delete from public_address where public_ip = $1', [publicIp]);
}

async function heldBy(client: Queryable, publicIp: string): Promise<{ readonly address: string; readonly site: string } | undefined> {
  const { rows } = await client.query<{ address: string; site: string }>(
    'select host(address) as address, site from public_address where public_ip = $1',
    [publicIp],
  );
  const [row] = rows;
  return row === undefined ? undefined : { address: canonical(row.address), site: row.site };
}

export function canonical(text: string): string {
  const address = parseAddress(text);
  return address === undefined ? text : formatAddress(address);
}

function isIn(text: string, ranges: readonly IpRange[]): boolean {
  const address = parseAddress(text);
  return (
    address !== undefined &&
    ranges.some((range) => range.family === address.family && address.value >= range.first && address.value <= range.last)
  );
}

/** The lowest one: the first of a range, or the one behind a held one. */
async function firstFree(client: Queryable, ranges: readonly IpRange[]): Promise<string | undefined> {
  for (const { family, first, last } of ranges) {
    const { rows } = await client.query<{ address: string }>(
      `select host(address) as address from (
         select $1::inet as address where not exists (select 1 from public_address where address = $1::inet)
         union all
         select held.address + 1 from public_address as held
          where held.address >= $1::inet and held.address < $2::inet
            and not exists (select 1 from public_address as other where other.address = held.address + 1)
       ) as free order by free.address limit 1`,
      [formatAddress({ family, value: first }), formatAddress({ family, value: last })],
    );
    if (rows[0] !== undefined) return canonical(rows[0].address);
  }
  return undefined;
}

/**
 * A changed pool of a site. Raises `conflict` when it meets that of another site, or when a public IP holds an address that would leave it.
 */
export async function assertPool(
  client: PoolClient,
  site: string,
  pool: readonly IpRange[],
  others: readonly { readonly name: string; readonly pool: readonly IpRange[] }[],
): Promise<void> {
  for (const [index, range] of pool.entries()) {
    const sources = [{ pointer: `${pointer}/${index}` }];
    if (pool.slice(0, index).some((other) => overlap(other, range)))
      throw new Problem('validation', `${formatRange(range)} overlaps another range of the site`, { sources });
    const other = others.find((each) => each.pool.some((theirs) => overlap(theirs, range)));
    if (other !== undefined)
      throw new Problem('conflict', `${formatRange(range)} overlaps the public addresses of site ${other.name}`, { sources });
  }
  const { rows } = await client.query<{ address: string; public_ip: string }>(
    'select host(address) as address, public_ip from public_address where site = $1 order by public_address.address',
    [site],
  );
  const leaving = rows.find(({ address }) => !isIn(address, pool));
  if (leaving !== undefined) {
    throw new Problem(
      'conflict',
      `${leaving.address} is held by public IP ${leaving.public_ip}; delete it before its address is taken away`,
      {
        sources: [{ pointer }],
      },
    );
  }
}

/** How many addresses of each of these sites are held. */
export async function addressesTaken(client: Queryable, sites: readonly string[]): Promise<ReadonlyMap<string, number>> {
  const { rows } = await client.query<{ site: string; taken: number }>(
    'select site, count(*)::integer as taken from public_address where site = any($1) group by site',
    [sites],
  );
  return new Map(rows.map(({ site, taken }) => [site, taken]));
}
