import { createHash, randomBytes, type X509Certificate } from 'node:crypto';
import { agentDnsName, type EnrolAnswer, type Enrolment, type EnrolRequest, Problem } from '@virt8ra/contract';
import { inTransaction, type Queryable } from '@virt8ra/engine';
import type { Pool } from 'pg';
import type { Authority, IssuedCertificate } from './authority.js';
import { tellFleet } from './signals.js';

/** How hosts come to a certificate, keep it and lose it. */
export interface Enrolments {
  /**
   * A single-use token for the agent of a host, which is made known to the fleet if it is new; earlier unused tokens of the host end.
   * Raises `conflict` when the fleet knows the host at another site.
   */
  create(host: string, site: string, client?: Queryable): Promise<Pick<Enrolment, 'token' | 'expiresAt'>>;
  /**
   * Token and request against a certificate. Within the token's hour the same token with the same key is answered again, so that a lost
   * answer harms nobody. Certificates of the host for other keys end. Raises `unauthorized`, or `validation` for a bad request.
   */
  enrol(request: EnrolRequest): Promise<EnrolAnswer>;
  /** A fresh certificate for the host behind an unrevoked one, expired or not. Raises `unauthorized`, or `validation` for a bad request. */
  renew(fingerprint: string, csr: string): Promise<EnrolAnswer>;
  /** The host behind a certificate. Undefined: revoked, or none of ours. */
  hostOf(fingerprint: string): Promise<{ readonly host: string; readonly site: string } | undefined>;
  /**
   * After a restore: a certificate that this CA has signed between the backup and the restore is good as well, though the database does not know it,
   * until its host is released: whoever was not heard before then stays held. Its host is kept as a stranger where that is not known either. Silent for any other.
   */
  adopt(fingerprint: string, certificate: X509Certificate): Promise<void>;
}

const tokenSeconds = 3600;
const tokenPrefix = 'v8enrol_';
/** Certificates kept per host: the newest ones, so that a crash-looping agent that renews cannot fill the table. */
const certificatesKept = 8;

export function createEnrolments(pool: Pool, authority: Authority): Enrolments {
  const answer = (host: string, site: string, certificate: string): EnrolAnswer => ({
    certificate,
    ca: authority.certificate,
    host,
    site,
    name: agentDnsName(host),
  });
  return {
    async create(host, site, client = pool) {
      // One that was enrolled after the backup of a restored control plane is compared like the others.
      await client.query(
        `insert into fleet.host (host, site, held)
         select $1, $2, exists (select 1 from fleet.stranger where host = $1) on conflict (host) do nothing`,
        [host, site],
      );
      const known = await client.query<{ site: string }>('select site from fleet.host where host = $1', [host]);
      const at = known.rows[0]?.site;
      if (at !== undefined && at !== site) throw new Problem('conflict', `host ${host} belongs to site ${at}; delete it there first`);
      const token = `${tokenPrefix}${randomBytes(32).toString('base64url')}`;
      await client.query(`delete from fleet.enrolment_token where (host = $1 and used_by is null) or expires_at < clock_timestamp()`, [
        host,
      ]);
      await client.query(`delete from fleet.certificate where revoked_at < clock_timestamp() - interval '30 days'`);
      const made = await client.query<{ expires_at: Date }>(
        `insert into fleet.enrolment_token (hash, host, expires_at) values ($1, $2, clock_timestamp() + make_interval(secs => $3)) returning expires_at`,
        [hashOf(token), host, tokenSeconds],
      );
      const expiresAt = made.rows[0]?.expires_at;
      if (expiresAt === undefined) throw new Problem('internal', 'the enrolment token was not stored');
      return { token, expiresAt: expiresAt.toISOString() };
    },

    async enrol({ token, csr }) {
      return await inTransaction(pool, async (client) => {
        // The lock makes two uses of one token wait for each other.
        const found = await client.query<TokenRow>(
          `select token.host, host.site, token.used_by, token.certificate, token.expires_at > clock_timestamp() as fresh
             from fleet.enrolment_token token join fleet.host using (host) where token.hash = $1 for update of token`,
          [hashOf(token)],
        );
        const row = found.rows[0];
        if (row === undefined) throw new Problem('unauthorized', 'the enrolment token is unknown; get a new one with `virt8ra enrol`');
        if (!row.fresh) throw new Problem('unauthorized', 'the enrolment token has expired; get a new one with `virt8ra enrol`');
        const { host, site } = row;
        const issued = await authority.issueAgent(csr, host);
        if (row.used_by !== null && row.certificate !== null) {
          if (!row.used_by.equals(issued.publicKey))
            throw new Problem('unauthorized', 'the enrolment token was used; get a new one with `virt8ra enrol`');
          return answer(host, site, row.certificate);
        }
        await keep(client, host, issued);
        // Whoever enrols under this name now is the host: two machines must not both speak for it.
        await client.query(
          `update fleet.certificate set revoked_at = clock_timestamp() where host = $1 and public_key <> $2 and revoked_at is null`,
          [host, issued.publicKey],
        );
        await client.query(`update fleet.enrolment_token set used_by = $2, certificate = $3 where hash = $1`, [
          hashOf(token),
          issued.publicKey,
          issued.certificate,
        ]);
        // It was given to whoever was the host before; a machine that was set up anew runs what was installed there.
        await client.query(
          'update fleet.host set agent_release = null, generation = generation + 1 where host = $1 and agent_release is not null',
          [host],
        );
        await tellFleet(client, host);
        return answer(host, site, issued.certificate);
      });
    },

    async renew(fingerprint, csr) {
      return await inTransaction(pool, async (client) => {
        const holder = await holderOf(client, fingerprint, 'for share of certificate');
        if (holder === undefined) throw new Problem('unauthorized', 'this certificate is revoked; enrol the host anew');
        const issued = await authority.issueAgent(csr, holder.host);
        await keep(client, holder.host, issued);
        return answer(holder.host, holder.site, issued.certificate);
      });
    },

    hostOf: async (fingerprint) => await holderOf(pool, fingerprint, ''),

    async adopt(fingerprint, certificate) {
      const [, host] = /(?:^|, )DNS:([a-z0-9][a-z0-9-]*)\.agents\.virt8ra\.internal(?:,|$)/.exec(certificate.subjectAltName ?? '') ?? [];
      if (host === undefined) return;
      const since = await pool.query(
        `select 1 from fleet.restore where $1::timestamptz between backup_at - interval '15 minutes' and restored_at + interval '15 minutes'
            and not exists (select 1 from fleet.certificate where fingerprint = $2)`,
        [new Date(certificate.validFrom), fingerprint],
      );
      if (since.rowCount === 0) return;
      const publicKey = createHash('sha256')
        .update(certificate.publicKey.export({ format: 'der', type: 'spki' }))
        .digest();
      const kept = await pool.query(
        `insert into fleet.certificate (fingerprint, host, public_key, expires_at) select $1, host, $3, $4 from fleet.host where host = $2 and held
         on conflict do nothing`,
        [fingerprint, host, publicKey, new Date(certificate.validTo)],
      );
      if (kept.rowCount === 0)
        await pool.query(
          `insert into fleet.stranger (host) select $1 where not exists (select 1 from fleet.host where host = $1)
           on conflict (host) do update set seen_at = clock_timestamp()`,
          [host],
        );
    },
  };
}

interface TokenRow {
  readonly host: string;
  readonly site: string;
  readonly used_by: Buffer | null;
  readonly certificate: string | null;
  readonly fresh: boolean;
}

async function holderOf(client: Queryable, fingerprint: string, lock: '' | 'for share of certificate') {
  const found = await client.query<{ host: string; site: string }>(
    `select host, site from fleet.certificate certificate join fleet.host using (host)
      where certificate.fingerprint = $1 and certificate.revoked_at is null ${lock}`,
    [fingerprint],
  );
  return found.rows[0];
}

async function keep(client: Queryable, host: string, issued: IssuedCertificate): Promise<void> {
  await client.query(`insert into fleet.certificate (fingerprint, host, public_key, expires_at) values ($1, $2, $3, $4)`, [
    issued.fingerprint,
    host,
    issued.publicKey,
    issued.expiresAt,
  ]);
  // An absent certificate is refused like a revoked one, so that what falls out here loses its use and gains none.
  await client.query(
    `delete from fleet.certificate where host = $1 and fingerprint in
       (select fingerprint from fleet.certificate where host = $1 order by issued_at desc, fingerprint offset $2)`,
    [host, certificatesKept],
  );
}

function hashOf(token: string): Buffer {
  return createHash('sha256').update(token).digest();
}
