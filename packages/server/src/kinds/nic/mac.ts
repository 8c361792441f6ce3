import { randomBytes } from 'node:crypto';
import { Problem } from '@virt8ra/contract';
import type { PoolClient } from 'pg';

/** Two random addresses of 40 bits meet seldom; that this many do in a row means something else is wrong. */
const attempts = 16;

/** The MAC of a NIC for its life: locally administered, random, unique in the region. */
export async function macOf(client: PoolClient, nic: string): Promise<string> {
  for (let attempt = 0; attempt < attempts; attempt += 1) {
    const held = await client.query<{ mac: string }>('select mac from nic_mac where nic = $1', [nic]);
    if (held.rows[0] !== undefined) return held.rows[0].mac;
    const mac = ['02', ...Array.from(randomBytes(5), (byte) => byte.toString(16).padStart(2, '0'))].join(':');
    await client.query('insert into nic_mac (nic, mac) values ($1, $2) on conflict do nothing', [nic, mac]);
  }
  throw new Problem('internal', 'no free MAC address was found');
}
