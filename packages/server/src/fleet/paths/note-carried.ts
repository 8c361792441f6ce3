import { type AgentMessageOf, agentDnsName } from '@virt8ra/contract';
import type { Queryable } from '@virt8ra/engine';

/** Keeps what senders of a host have carried, as one row for each transfer. The receiver is whom the control plane had named to it. */
export async function noteCarried(client: Queryable, host: string, transfers: AgentMessageOf<'observed'>['transfers']): Promise<void> {
  const told = transfers.flatMap(({ id, role, carried }) => (role === 'send' && carried !== undefined ? [{ id, ...carried }] : []));
  if (told.length === 0) return;
  await client.query(
    `insert into fleet.path_sample (id, from_host, to_host, at, source, state, bytes, seconds)
     select 'transfer/' || row.id, $1, receiver.host, clock_timestamp(), 'transfer', 'measured', row.bytes, row.seconds
       from jsonb_to_recordset($2::jsonb) as row (id text, bytes bigint, seconds double precision)
       join fleet.desired on desired.host = $1 and desired.type = 'transfer' and desired.key = row.id
       join fleet.host as receiver on receiver.host || $3 = desired.object -> 'peer' ->> 'name'
     on conflict (id) do update set at = excluded.at, bytes = excluded.bytes, seconds = excluded.seconds
      where path_sample.bytes <> excluded.bytes or path_sample.seconds <> excluded.seconds`,
    [host, JSON.stringify(told), agentDnsName('')],
  );
}
