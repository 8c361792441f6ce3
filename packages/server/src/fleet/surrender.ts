import { verify, X509Certificate } from 'node:crypto';
import { agentDnsName, type Surrender, surrenderText } from '@virt8ra/contract';
import type { Authority } from './authority.js';

/** Room for clocks that disagree. */
const slackMs = 5 * 60_000;

/**
 * Why a surrender proves nothing, or undefined when it proves that `epoch` of `instance` has ended. Agents check the same again for
 * themselves. The certificate need only have been valid when the promise was made: promises do not expire.
 */
export function surrenderFault(surrender: Surrender, instance: string, epoch: number, authority: Authority): string | undefined {
  if (surrender.instance !== instance) return 'it is about another instance';
  if (surrender.epoch !== epoch) return `it ends epoch ${surrender.epoch}, not ${epoch}`;
  try {
    const certificate = new X509Certificate(surrender.certificate);
    if (certificate.ca || !authority.signed(certificate)) return 'its certificate is not of this control plane';
    if (certificate.checkHost(agentDnsName(surrender.host)) === undefined) return `its certificate does not name host ${surrender.host}`;
    const at = Date.parse(surrender.at);
    if (!(at >= Date.parse(certificate.validFrom) - slackMs && at <= Date.parse(certificate.validTo) + slackMs)) {
      return 'it was not signed while its certificate was valid';
    }
    const signature = Buffer.from(surrender.signature, 'base64');
    return verify('sha256', Buffer.from(surrenderText(surrender)), certificate.publicKey, signature) ? undefined : 'its signature is wrong';
  } catch (error) {
    return `it cannot be read: ${error instanceof Error ? error.message : String(error)}`;
  }
}
