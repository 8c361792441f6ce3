import { existsSync } from 'node:fs';
import { host, Problem, site } from '@virt8ra/contract';
import { referenceName } from '../output/columns.js';
import { yamlText } from '../output/yaml.js';
import type { Session } from '../session.js';

export interface EnrolFlags {
  readonly site?: string;
}

/** Makes the host known when it is not, and prints the one command that starts its agent. The token in it works once. */
export async function hostEnrol(session: Session, name: string, flags: EnrolFlags): Promise<void> {
  const { client, terminal } = session;
  const existing = await client.find(host, { name });
  if (existing === undefined) {
    if (flags.site === undefined) throw new Problem('invalid-request', `host ${name} is not known yet; say where it stands: --site SITE`);
    await client.put(host, { name }, { spec: { siteRef: `${site.collection}/${flags.site}` } });
  } else if (flags.site !== undefined && referenceName(existing.spec.siteRef) !== flags.site) {
    const where = referenceName(existing.spec.siteRef);
    throw new Problem('conflict', `host ${name} stands at site ${where}; delete it first to enrol it at ${flags.site}`);
  }
  const enrolment = await client.enrol(name);
  if (session.format === 'json') terminal.out(`${JSON.stringify(enrolment, null, 2)}\n`);
  else if (session.format === 'yaml') terminal.out(await yamlText(enrolment));
  else {
    const words = ['--server', enrolment.url, '--token', enrolment.token, '--ca-sha256', enrolment.caSha256];
    const given = words.map(shellWord).join(' ');
    const [where, command] = isClone() ? [', in a clone of this commit,', 'npm run agent -- run'] : ['', 'virt8ra-agent enrol'];
    terminal.err(`run this on ${name}${where} before ${enrolment.expiresAt}; the token works once:\n`);
    terminal.out(`${command} ${given}\n`);
  }
}

/** Whether this command line runs from a clone of the repository: its hosts do so as well, then. */
function isClone(): boolean {
  return existsSync(new URL('../../../../tools/agent.mjs', import.meta.url));
}

function shellWord(word: string): string {
  return /^[A-Za-z0-9_./:@%+=,-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}
