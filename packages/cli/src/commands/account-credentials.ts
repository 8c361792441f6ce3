import { readFile } from 'node:fs/promises';
import { account, Problem } from '@virt8ra/contract';
import { addressOf, type Session } from '../session.js';

export interface CredentialsFlags {
  readonly file: string;
}

/** Gives an account its credentials, from a file and never from the command line, where everybody on the machine reads them. */
export async function accountCredentials(session: Session, name: string, { file }: CredentialsFlags): Promise<void> {
  const { terminal, client, format } = session;
  const text =
    file === '-'
      ? await terminal.readStdin()
      : await readFile(file, 'utf8').catch((cause: Error) => {
          throw new Problem('invalid-request', `cannot read ${file}: ${cause.message}`, { cause });
        });
  await client.act(account, addressOf(session, account, name), 'credentials', { body: { values: valuesIn(text, file) } });
  terminal.out(format === 'name' ? `account/${name}\n` : `account/${name} has new credentials\n`);
}

/** Lines `name: value` or `NAME=VALUE`, or one JSON object. The text is never repeated in a message: it is secret. */
export function valuesIn(text: string, file: string): Readonly<Record<string, string>> {
  const wrong = (why: string): Problem =>
    new Problem(
      'invalid-request',
      `${file} ${why}; write a line for each, such as applicationCredentialId: 4f2c…, or one JSON object of texts`,
    );
  if (text.trimStart().startsWith('{')) {
    let parsed: unknown;
    try {
      parsed = JSON.parse(text);
    } catch {
      throw wrong('is no JSON');
    }
    const entries = Object.entries(parsed as Record<string, unknown>);
    if (entries.some(([, value]) => typeof value !== 'string')) throw wrong('holds what is no text');
    return Object.fromEntries(entries) as Record<string, string>;
  }
  const values: Record<string, string> = {};
  for (const [index, line] of text.split('\n').entries()) {
    if (line.trim() === '' || line.trimStart().startsWith('#')) continue;
    const [, name, value] = /^\s*([A-Za-z][A-Za-z0-9]*)\s*[:=]\s*(.*?)\s*$/.exec(line) ?? [];
    if (name === undefined || value === undefined || value === '') throw wrong(`line ${index + 1} is no name with a value`);
    values[name] = value.replace(/^(["'])(.*)\1$/, '$2');
  }
  if (Object.keys(values).length === 0) throw wrong('is empty');
  return values;
}
