import { createPrivateKey, sign, verify, X509Certificate } from 'node:crypto';
import { agentDnsName, type Surrender, surrenderText } from '@virt8ra/contract';

/** What a host signs with: its own private key and the certificate that speaks for it. */
export interface HostSigner {
  readonly host: string;
  /** PEM. */
  readonly privateKey: string;
  /** PEM. */
  readonly certificate: string;
}

/** Signs a promise. The caller has journaled it already. */
export function signSurrender(statement: Omit<Surrender, 'signature' | 'certificate' | 'host'>, signer: HostSigner): Surrender {
  const whole = { ...statement, host: signer.host };
  const signature = sign('sha256', Buffer.from(surrenderText(whole)), createPrivateKey(signer.privateKey));
  return { ...whole, signature: signature.toString('base64'), certificate: signer.certificate };
}

/**
 * Why a surrender proves nothing, or undefined when it proves that `epoch` of `instance` has ended. The certificate's own expiry does
 * not matter as long as it was valid when the promise was made: promises do not expire.
 */
export function evidenceFault(evidence: Surrender, instance: string, epoch: number, ca: string): string | undefined {
  if (evidence.instance !== instance) return 'the evidence is about another instance';
  if (evidence.epoch !== epoch) return `the evidence ends epoch ${evidence.epoch}, not ${epoch}`;
  try {
    const certificate = new X509Certificate(evidence.certificate);
    const authority = new X509Certificate(ca);
    if (!certificate.checkIssued(authority) || !certificate.verify(authority.publicKey))
      return 'the evidence’s certificate is not of this control plane';
    if (certificate.ca) return 'the evidence’s certificate is a CA';
    const name = agentDnsName(evidence.host).toLowerCase();
    const names = (certificate.subjectAltName ?? '').split(',').map((entry) => entry.trim().toLowerCase());
    if (!names.includes(`dns:${name}`)) return `the evidence’s certificate does not name ${name}`;
    const at = Date.parse(evidence.at);
    const slackMs = 5 * 60_000;
    if (!(at >= Date.parse(certificate.validFrom) - slackMs && at <= Date.parse(certificate.validTo) + slackMs)) {
      return 'the evidence was not signed while its certificate was valid';
    }
    const signed = verify('sha256', Buffer.from(surrenderText(evidence)), certificate.publicKey, Buffer.from(evidence.signature, 'base64'));
    return signed ? undefined : 'the evidence’s signature is wrong';
  } catch (error) {
    return `the evidence cannot be read: ${error instanceof Error ? error.message : String(error)}`;
  }
}
