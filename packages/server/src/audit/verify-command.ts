import { auditVerificationText, Problem } from '@virt8ra/contract';
import { Pool } from 'pg';
import { type Environment, parseConfig } from '../config.js';
import { runningDatabase } from '../database/running-database.js';
import { readAuditSigner } from './audit-key.js';
import { headFromText, verifyAudit } from './verify-audit.js';

/**
 * The command: `-o json`, `--head POSITION:HASH` and the server's own options. Looks at the database itself, whether a server runs or not, and
 * changes nothing. Answers the exit code: 1 when something does not hold. Raises `unavailable` when the database or the key is not there.
 */
export async function runAuditVerify(
  argv: readonly string[],
  environment: Environment,
  uid: number,
  print: (text: string) => void,
): Promise<number> {
  const { json, head, rest } = flagsOf(argv);
  const config = parseConfig(rest, environment, uid);
  const signer = await readAuditSigner(config);
  if (signer === undefined)
    throw new Problem('unavailable', `there is no key of an audit in ${config.stateDirectory}: has the server been started there?`);
  const pool = new Pool({ ...(await runningDatabase(config)), max: 1, connectionTimeoutMillis: 10_000 });
  pool.on('error', () => undefined);
  try {
    const expected = headFromText(head, '--head');
    const found = await verifyAudit(pool, { signer, ...(expected === undefined ? {} : { expected }) });
    print(json ? JSON.stringify(found, undefined, 2) : auditVerificationText(found).trimEnd());
    return found.faultCount === 0 ? 0 : 1;
  } finally {
    await pool.end();
  }
}

function flagsOf(argv: readonly string[]): { readonly json: boolean; readonly head: string | undefined; readonly rest: readonly string[] } {
  const rest: string[] = [];
  let format = 'text';
  let head: string | undefined;
  for (let index = 0; index < argv.length; index += 1) {
    const [, name = argv[index] ?? '', inline] = /^(--output|--head)=(.*)$/.exec(argv[index] ?? '') ?? [];
    if (name !== '-o' && name !== '--output' && name !== '--head') {
      rest.push(name);
      continue;
    }
    if (inline === undefined) index += 1;
    const value = inline ?? argv[index] ?? '';
    if (name === '--head') head = value;
    else format = value;
  }
  if (format !== 'text' && format !== 'json') throw new Problem('validation', `--output must be text or json, not ${format}`);
  return { json: format === 'json', head, rest };
}
