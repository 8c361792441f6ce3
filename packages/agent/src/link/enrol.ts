import { X509Certificate } from 'node:crypto';
import { hostname } from 'node:os';
import { EnrolAnswer, Problem } from '@virt8ra/contract';
import { Check } from 'typebox/value';
import type { AgentConfig, EnrolConfig } from '../config.js';
import type { Log } from '../log.js';
import { agentVersion } from '../version.js';
import { fetchAuthority } from './authority.js';
import { certificateRequest } from './certificate-request.js';
import { checkClock } from './clock-check.js';
import { exchange, readAnswer } from './exchange.js';
import type { Identity, IdentityStore } from './identity.js';

/**
 * Exchanges the single-use token for a certificate. The key is made first and kept, so that a lost answer can be asked for again with the same key.
 * Raises Problem unauthorized for a wrong CA or token, unavailable when the server cannot be reached, conflict when the clocks differ too much.
 */
export async function enrol(
  config: EnrolConfig,
  store: IdentityStore,
  log: Log,
  { chosen, ways }: AgentConfig['proxies'] = { chosen: false, ways: {} },
): Promise<Identity> {
  const ca = await fetchAuthority(config.server, config.caSha256, ways);
  await checkClock(config.server, { ca, proxies: ways }, log);
  const csr = certificateRequest(await store.privateKey(), hostname());
  const response = await exchange(
    new URL('/agent/v1/enrol', config.server),
    { ca, proxies: ways },
    { method: 'POST', body: { token: config.token, csr, agentVersion } },
  );
  const answer = await readAnswer(response);
  if (!Check(EnrolAnswer, answer))
    throw new Problem('internal', 'the control plane’s answer to the enrolment has not the agreed form; are both of matching versions?');
  const fingerprint = new X509Certificate(answer.ca).fingerprint256.replaceAll(':', '').toLowerCase();
  if (fingerprint !== config.caSha256)
    throw new Problem('unauthorized', 'the control plane answered with another CA than the one you named');
  const { host, site, name, certificate } = answer;
  const identity = await store.save({
    server: config.server.origin,
    host,
    site,
    name,
    certificate,
    ca: answer.ca,
    ...(chosen ? { enrolledThrough: ways } : {}),
  });
  log.info('this host is enrolled', { host, site, server: config.server.origin });
  return identity;
}

/** A fresh certificate for the same key; an expired one may still ask for it. */
export async function renew(identity: Identity, store: IdentityStore): Promise<Identity> {
  const csr = certificateRequest(identity.privateKey, identity.host);
  const response = await exchange(new URL('/agent/v1/renew', identity.server), identity, { method: 'POST', body: { csr } });
  const answer = await readAnswer(response);
  if (!Check(EnrolAnswer, answer)) throw new Problem('internal', 'the control plane’s answer to the renewal has not the agreed form');
  const { privateKey: _, ...kept } = identity;
  return await store.save({ ...kept, certificate: answer.certificate });
}

/** When to renew: the middle of the certificate's life, milliseconds since 1970. */
export function renewalTime(certificate: string): number {
  const { validFrom, validTo } = new X509Certificate(certificate);
  return (Date.parse(validFrom) + Date.parse(validTo)) / 2;
}
