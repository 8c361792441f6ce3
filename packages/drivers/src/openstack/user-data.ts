import type { DesiredInstance } from '@virt8ra/contract';
import { Problem } from '@virt8ra/contract';

/** Compute takes no more, in base64. */
const mostCharacters = 65_535;

/** Base64. What the site tells its guests comes first, then the keys, then the owner's own, which therefore has the last word. */
export function userDataFrom({ userData, sshKeys, vendorData }: DesiredInstance['seed']): string | undefined {
  const parts = [
    ...(vendorData === undefined ? [] : [vendorData]),
    ...(sshKeys.length === 0
      ? []
      : [`#cloud-config\nssh_authorized_keys:\n${sshKeys.map((key) => `  - ${JSON.stringify(key)}\n`).join('')}`]),
    ...(userData === undefined ? [] : [userData]),
  ];
  const [only] = parts;
  if (only === undefined) return undefined;
  const encoded = Buffer.from(parts.length === 1 ? only : multipart(parts)).toString('base64');
  if (encoded.length > mostCharacters)
    throw new Problem('unsupported', `user data and keys are ${encoded.length} characters in base64; OpenStack takes ${mostCharacters}`);
  return encoded;
}

/** cloud-init takes several documents as one MIME message, and merges lists only when it is told to. */
function multipart(parts: readonly string[]): string {
  const boundary = 'virt8ra-part';
  const head = `Content-Type: multipart/mixed; boundary="${boundary}"\nMIME-Version: 1.0\n\n`;
  const body = parts.map(
    (part) =>
      `--${boundary}\nContent-Type: ${typeOf(part)}; charset="utf-8"\nContent-Transfer-Encoding: base64\nMerge-Type: list(append)+dict(no_replace,recurse_list)+str()\n\n${Buffer.from(part).toString('base64')}\n`,
  );
  return `${head}${body.join('')}--${boundary}--\n`;
}

function typeOf(part: string): string {
  if (part.startsWith('#!')) return 'text/x-shellscript';
  if (part.startsWith('#include')) return 'text/x-include-url';
  if (part.startsWith('#cloud-boothook')) return 'text/cloud-boothook';
  if (/^(Content-Type: multipart|MIME-Version)/i.test(part)) return 'text/plain';
  return 'text/cloud-config';
}
