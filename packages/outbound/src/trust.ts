import { X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { rootCertificates } from 'node:tls';
import { Problem } from '@virt8ra/contract/plain';

const block = /-----BEGIN CERTIFICATE-----[\s\S]+?-----END CERTIFICATE-----/g;

/**
 * The certificates to trust: those that Node brings, those of the file that NODE_EXTRA_CA_CERTS names, which Node leaves out when others are
 * given, and those of `file`. Undefined without one: what Node trusts anyway. Raises `validation` that names the file.
 */
export async function trustWith(file: string | undefined, extraFile?: string | undefined): Promise<readonly string[] | undefined> {
  if (file === undefined) return undefined;
  const more = extraFile === undefined ? [] : certificatesIn(await readFile(extraFile, 'utf8').catch(() => ''));
  const text = await readFile(file, 'utf8').catch((cause: Error) => {
    throw new Problem('validation', `the file of CA certificates ${file} cannot be read: ${cause.message}`, { cause });
  });
  const own = certificatesIn(text);
  if (own.length === 0) throw new Problem('validation', `${file} holds no certificate in PEM form`);
  for (const [index, pem] of own.entries()) {
    try {
      new X509Certificate(pem);
    } catch (cause) {
      throw new Problem('validation', `certificate ${index + 1} of ${file} is damaged`, { cause });
    }
  }
  return [...rootCertificates, ...more, ...own];
}

function certificatesIn(text: string): readonly string[] {
  return text.match(block) ?? [];
}
