import { createPrivateKey, createPublicKey, sign } from 'node:crypto';

/** One DER element: tag, length, content. */
function der(tag: number, ...parts: readonly Buffer[]): Buffer {
  const content = Buffer.concat(parts);
  const { length } = content;
  const size = length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...size]), content]);
}

const sequence = 0x30;
const set = 0x31;
const utf8String = 0x0c;
const bitString = 0x03;
/** OBJECT IDENTIFIER 2.5.4.3, commonName. */
const commonNameId = Buffer.from('0603550403', 'hex');
/** OBJECT IDENTIFIER 1.2.840.10045.4.3.2, ecdsa-with-SHA256. */
const ecdsaWithSha256 = Buffer.from('06082a8648ce3d040302', 'hex');

/**
 * A PKCS #10 request (RFC 2986), PEM, for a P-256 key given as PKCS #8 PEM. The control plane takes only the public key from it and
 * decides the names itself. Written out by hand, because a library for it would weigh more than the rest of the agent.
 */
export function certificateRequest(privateKey: string, commonName: string): string {
  const key = createPrivateKey(privateKey);
  const publicKey = createPublicKey(key).export({ type: 'spki', format: 'der' });
  const name = der(sequence, der(set, der(sequence, commonNameId, der(utf8String, Buffer.from(commonName.slice(0, 64))))));
  const version = Buffer.from([0x02, 0x01, 0x00]);
  const noAttributes = Buffer.from([0xa0, 0x00]);
  const info = der(sequence, version, name, publicKey, noAttributes);
  const signature = der(bitString, Buffer.from([0x00]), sign('sha256', info, key));
  const request = der(sequence, info, der(sequence, ecdsaWithSha256), signature);
  const lines = request.toString('base64').match(/.{1,64}/g) ?? [];
  return `-----BEGIN CERTIFICATE REQUEST-----\n${lines.join('\n')}\n-----END CERTIFICATE REQUEST-----\n`;
}
