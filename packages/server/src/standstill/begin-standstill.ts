import { randomUUID } from 'node:crypto';
import { newId } from '@virt8ra/contract';
import type { PoolClient } from 'pg';
import { beginAuditEra } from '../audit/sealer.js';

/** More realizations than a resource can have had between a backup and its restore: their numbers are never given out again. */
const generationsSkipped = 1000;

/**
 * Makes a database that was just restored the beginning of a new epoch, in one transaction: ids of transactions begin anew, agents tell what they know
 * before they are told anything, and nothing that was given out after the backup is given out a second time. Everything stands still from here on
 * until a person releases it. The audit says so in a row of its own.
 */
export async function beginStandstill(
  client: PoolClient,
  backup: { readonly file: string; readonly at: string; readonly build: string },
): Promise<void> {
  await beginAuditEra(client);
  const epoch = randomUUID();
  await client.query('update control.plane set epoch = $1, epoch_at = clock_timestamp()', [epoch]);
  await client.query(`insert into fleet.restore (epoch, backup, backup_at, backup_build) values ($1, $2, $3, $4)`, [
    epoch,
    backup.file,
    backup.at,
    backup.build,
  ]);
  // What was written before must be older than whatever is written from now on; the change feed begins here.
  await client.query(
    `update resource set revision_xid = pg_current_xact_id(), revision_seq = nextval('feed_position'), generation = generation + $1`,
    [generationsSkipped],
  );
  await client.query('update tombstone set revision_xid = pg_current_xact_id()');
  await client.query('update progress set xid = pg_current_xact_id()');
  await client.query('delete from feed');
  await client.query('update feed_floor set xid = pg_current_xact_id(), seq = 0');
  // Used once already, perhaps; leases are nobody's.
  for (const table of ['fleet.enrolment_token', 'stream_ticket', 'engine.lease']) await client.query(`delete from ${table}`);
  // Higher than any that agents were told under the old epoch, so that no old report acknowledges anything of the new one.
  await client.query(`update fleet.host set held = true, generation = greatest(generation, extract(epoch from clock_timestamp())::bigint)`);
  await client.query('update fleet.desired set generation = host.generation from fleet.host where host.host = desired.host');
  await client.query('update fleet.desired set removed_generation = generation where removed_generation is not null');
  await client.query('update fleet.link set link_id = null, linked_by = null, silent = true');
  await client.query('delete from fleet.told');
  await client.query('delete from withheld');
  await client.query('delete from fleet.stranger');
  // What was seen before the backup is not what is: the time of the last look stays.
  await client.query(
    `update resource set status = jsonb_set(status, '{activity}', (status -> 'activity') || '{"value": "unknown", "source": "control plane backup"}')
      where kind = 'instance' and jsonb_typeof(status -> 'activity') = 'object'`,
  );
  await client.query(
    `insert into audit (id, at, subject, remote, verb, resource, code, reason)
     values ($1, clock_timestamp(), 'virt8ra-server', '', 'restore', 'virt8ra.restore/v1beta1', 200, $2)`,
    [
      newId('audit'),
      `restored from ${backup.file}, of ${backup.at}, made by ${backup.build}: what was written after that, rows of this audit too, is lost`,
    ],
  );
}
