import 'reflect-metadata';
import { createPrivateKey, webcrypto, X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as x509 from '@peculiar/x509';
import { agentDnsName } from '@virt8ra/contract';
import { inTransaction } from '@virt8ra/engine';
import type { TestDatabase } from '@virt8ra/engine/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createFleet } from './fleet.js';
import { tellFleet } from './signals.js';
import { type FleetFixture, startFleetFixture } from './testing/fleet-fixture.js';
import { blankVolume } from './testing/objects.js';
import { startSimulatedAgent } from './testing/simulated-agent.js';
import { askListener, createKey, enrolHost, renewHost, type SimulatedIdentity } from './testing/simulated-identity.js';
import { postgresIsThere, useFleetDatabase } from './testing/test-database.js';

describe.skipIf(!(await postgresIsThere()))('enrolment', () => {
  const freshDatabase = useFleetDatabase();
  let database: TestDatabase;
  let fixture: FleetFixture;

  beforeEach(async () => {
    database = await freshDatabase();
    fixture = await startFleetFixture(database);
  });
  afterEach(async () => await fixture.stop());

  const enrolled = async (host = 'alpha'): Promise<SimulatedIdentity> =>
    await enrolHost(fixture.fleet.url, await fixture.fleet.createEnrolment(host, 'here'), await createKey());
  const linkStatus = async (identity?: Pick<SimulatedIdentity, 'certificate' | 'privateKey'>): Promise<number> =>
    (
      await askListener(fixture.fleet.url, {
        method: 'GET',
        path: '/agent/v1/link',
        ...(identity === undefined ? {} : { identity }),
        headers: {
          connection: 'upgrade',
          upgrade: 'websocket',
          'sec-websocket-version': '13',
          'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==',
        },
      })
    ).status;

  it('gives a token once for one certificate of the host', async () => {
    const enrolment = await fixture.fleet.createEnrolment('alpha', 'here');
    expect(Date.parse(enrolment.expiresAt) - Date.now()).toBeGreaterThan(3_500_000);
    const identity = await enrolHost(fixture.fleet.url, enrolment, await createKey());
    expect(identity).toMatchObject({ host: 'alpha', site: 'here', name: agentDnsName('alpha') });
    await expect(enrolHost(fixture.fleet.url, enrolment, await createKey())).rejects.toMatchObject({
      kind: 'unauthorized',
      message: expect.stringContaining('was used'),
    });
  });

  it('answers the same certificate again when the answer was lost', async () => {
    const enrolment = await fixture.fleet.createEnrolment('alpha', 'here');
    const key = await createKey();
    const [first, second] = await Promise.all([enrolHost(fixture.fleet.url, enrolment, key), enrolHost(fixture.fleet.url, enrolment, key)]);
    expect(second.certificate).toBe(first.certificate);
    const { rows } = await database.pool.query('select 1 from fleet.certificate');
    expect(rows).toHaveLength(1);
  });

  it('lets one of two keys win when both use a token at once', async () => {
    const enrolment = await fixture.fleet.createEnrolment('alpha', 'here');
    const keys = [await createKey(), await createKey()];
    const answers = await Promise.allSettled(keys.map(async (key) => await enrolHost(fixture.fleet.url, enrolment, key)));
    expect(answers.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
  });

  it('refuses a token that has expired, was replaced or never was', async () => {
    const replaced = await fixture.fleet.createEnrolment('alpha', 'here');
    const expired = await fixture.fleet.createEnrolment('alpha', 'here');
    await database.pool.query(`update fleet.enrolment_token set expires_at = now() - interval '1 second'`);
    const key = await createKey();
    await expect(enrolHost(fixture.fleet.url, replaced, key)).rejects.toMatchObject({
      kind: 'unauthorized',
      message: expect.stringContaining('unknown'),
    });
    await expect(enrolHost(fixture.fleet.url, expired, key)).rejects.toMatchObject({
      kind: 'unauthorized',
      message: expect.stringContaining('expired'),
    });
  });

  it('stores no token', async () => {
    const { token } = await fixture.fleet.createEnrolment('alpha', 'here');
    const { rows } = await database.pool.query('select * from fleet.enrolment_token');
    expect(JSON.stringify(rows)).not.toContain(token);
    expect(rows[0].hash.toString()).not.toContain(token);
  });

  it('slows down who guesses tokens', async () => {
    const enrolment = { ...(await fixture.fleet.createEnrolment('alpha', 'here')), token: 'v8enrol_wrong_but_long_enough' };
    const key = await createKey();
    for (let count = 0; count < 10; count += 1) {
      await expect(enrolHost(fixture.fleet.url, enrolment, key)).rejects.toMatchObject({ kind: 'unauthorized' });
    }
    const answer = await askListener(fixture.fleet.url, {
      method: 'POST',
      path: '/agent/v1/enrol',
      body: { token: 'x'.repeat(20), csr: key.csr, agentVersion: '1' },
    });
    expect(answer.status).toBe(429);
    expect(Number(answer.headers['retry-after'])).toBeGreaterThan(0);
  });

  it('does not use up a token for a bad request', async () => {
    const enrolment = await fixture.fleet.createEnrolment('alpha', 'here');
    const bad = await askListener(fixture.fleet.url, {
      method: 'POST',
      path: '/agent/v1/enrol',
      body: { token: enrolment.token, csr: 'hello', agentVersion: '1' },
    });
    expect(bad.status).toBe(422);
    expect((await enrolHost(fixture.fleet.url, enrolment, await createKey())).host).toBe('alpha');
  });

  it.each([
    { title: 'no JSON', body: '{', status: 400 },
    { title: 'a body of the wrong form', body: { token: 7 }, status: 422 },
    { title: 'more than is agreed', body: { token: 'x'.repeat(20), csr: '', agentVersion: '', more: 1 }, status: 422 },
    { title: 'an oversized body', body: 'x'.repeat(40_000), status: 413 },
  ])('refuses $title', async ({ body, status }) => {
    const answer = await askListener(fixture.fleet.url, { method: 'POST', path: '/agent/v1/enrol', body });
    expect(answer.status).toBe(status);
    expect(answer.headers['content-type']).toBe('application/problem+json');
  });

  it('knows a host at one site only', async () => {
    await fixture.fleet.createEnrolment('alpha', 'here');
    await expect(fixture.fleet.createEnrolment('alpha', 'elsewhere')).rejects.toMatchObject({ kind: 'conflict' });
  });

  it('renews a certificate for the same host', async () => {
    const identity = await enrolled();
    const renewed = await renewHost(fixture.fleet.url, identity);
    expect(renewed).toMatchObject({ host: 'alpha', site: 'here', name: identity.name });
    expect(renewed.certificate).not.toBe(identity.certificate);
    expect(await linkStatus(renewed)).toBe(101);
  });

  it('renews a certificate that has expired, and lets it do nothing else', async () => {
    await enrolled();
    const expired = await expiredIdentity(fixture, database, 'alpha');
    expect(await linkStatus(expired)).toBe(401);
    expect((await renewHost(fixture.fleet.url, expired)).host).toBe('alpha');
  });

  it('ends the certificates of another key when the host enrols anew', async () => {
    const stolen = await enrolled();
    const rightful = await enrolled();
    expect(await linkStatus(stolen)).toBe(403);
    await expect(renewHost(fixture.fleet.url, stolen)).rejects.toMatchObject({ kind: 'unauthorized' });
    expect(await linkStatus(rightful)).toBe(101);
  });

  it('keeps a bounded number of certificates of a host', async () => {
    let identity = await enrolled();
    for (let count = 0; count < 12; count += 1) identity = await renewHost(fixture.fleet.url, identity);
    const { rows } = await database.pool.query('select 1 from fleet.certificate');
    expect(rows.length).toBe(8);
    expect(await linkStatus(identity)).toBe(101);
  });

  it('lets in nobody without a certificate, and none of another CA', async () => {
    await enrolled();
    expect(await linkStatus()).toBe(401);
    const other = await startFleetFixture(await freshDatabase());
    try {
      const foreign = await enrolHost(other.fleet.url, await other.fleet.createEnrolment('alpha', 'here'), await createKey());
      expect(await linkStatus(foreign)).toBe(401);
      await expect(renewHost(fixture.fleet.url, foreign)).rejects.toMatchObject({ kind: 'unauthorized' });
    } finally {
      await other.stop();
    }
  });

  it('ends a host that is removed: its link, its certificates and everything known of it', async () => {
    const agent = await startSimulatedAgent({ enrolment: await fixture.fleet.createEnrolment('alpha', 'here') });
    try {
      await fixture.fleet.port.declare('here', { host: 'alpha', type: 'volume', key: 'v1', desired: blankVolume('v1') }, 'keep');
      await expect(fixture.fleet.removeHost('alpha')).rejects.toMatchObject({
        kind: 'conflict',
        message: expect.stringContaining('volume v1'),
      });
      expect(agent.connected).toBe(true);
      await fixture.fleet.removeHost('alpha', { abandon: true });
      await agent.until('it is told', () => agent.refused !== undefined);
      expect(agent.refused).toMatch(/no longer part/);
      expect(await linkStatus(agent.identity)).toBe(403);
      await expect(renewHost(fixture.fleet.url, agent.identity)).rejects.toMatchObject({ kind: 'unauthorized' });
      expect(await fixture.fleet.hostStatus(['alpha'])).toEqual([]);
      expect(await fixture.fleet.port.find('here', 'volume', 'v1')).toBeUndefined();
      await fixture.fleet.removeHost('alpha');
    } finally {
      await agent.stop();
    }
  });

  it('tells a host that it is removed also when its link is reviewed in that moment', async () => {
    const agent = await startSimulatedAgent({ enrolment: await fixture.fleet.createEnrolment('alpha', 'here') });
    const waiting =
      'select 1 from pg_locks where not granted and database = (select oid from pg_database where datname = current_database())';
    try {
      await inTransaction(database.pool, async (client) => {
        await fixture.fleet.removeHost('alpha', { client });
        await tellFleet(database.pool, 'alpha');
        await fixture.until('the review waits for the removal', async () => (await database.pool.query(waiting)).rowCount !== 0);
      });
      await agent.until('it is told', () => agent.refused !== undefined);
      expect(agent.refused).toMatch(/no longer part/);
    } finally {
      await agent.stop();
    }
  });

  it('refuses to serve the agents of a database with another CA', async () => {
    const { pool } = database;
    const none = async () => await Promise.reject(new Error('none'));
    const options = {
      pool,
      epoch: 'e',
      serverId: 's',
      listen: { host: '127.0.0.1', port: 0 },
      log: fixture.log,
      artifacts: { size: async () => undefined, read: () => Promise.reject(new Error('none')) },
      contents: { received: async () => undefined, begin: none, append: none },
      onObserved: () => undefined,
      onHostChanged: () => undefined,
      onProgress: () => undefined,
    };
    await expect(createFleet({ ...options, stateDirectory: join(fixture.stateDirectory, 'other') })).rejects.toMatchObject({
      kind: 'conflict',
    });
    await createFleet({ ...options, stateDirectory: fixture.stateDirectory });
  });
});

/** A certificate as the CA would have issued it half a year ago. */
async function expiredIdentity(fixture: FleetFixture, database: TestDatabase, host: string) {
  const directory = join(fixture.stateDirectory, 'pki');
  const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
  const caKey = createPrivateKey(await readFile(join(directory, 'ca.key'), 'utf8')).export({ type: 'pkcs8', format: 'der' });
  const issuer = new x509.X509Certificate(await readFile(join(directory, 'ca.pem'), 'utf8'));
  const key = await createKey();
  const certificate = (
    await x509.X509CertificateGenerator.create({
      subject: `CN=${host}`,
      issuer: issuer.subjectName,
      notBefore: new Date(Date.now() - 180 * 86_400_000),
      notAfter: new Date(Date.now() - 86_400_000),
      signingKey: await webcrypto.subtle.importKey('pkcs8', caKey, algorithm, false, ['sign']),
      signingAlgorithm: algorithm,
      publicKey: new x509.Pkcs10CertificateRequest(key.csr).publicKey,
      extensions: [await x509.AuthorityKeyIdentifierExtension.create(issuer.publicKey)],
    })
  ).toString('pem');
  const fingerprint = new X509Certificate(certificate).fingerprint256.replaceAll(':', '').toLowerCase();
  await database.pool.query(
    `insert into fleet.certificate (fingerprint, host, public_key, expires_at) values ($1, $2, '', now() - interval '1 day')`,
    [fingerprint, host],
  );
  return { certificate, privateKey: key.privateKey, host, site: 'here', name: agentDnsName(host), ca: '' };
}
