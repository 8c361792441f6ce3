import { exitCodeOfFindings, type Finding, findingsText, found, Problem, toProblem } from '@virt8ra/contract';
import { type Config, type Environment, parseConfig } from '../config.js';
import { checkArtifacts } from './artifact-checks.js';
import { checkBackups } from './backup-checks.js';
import { checkDatabase } from './database-checks.js';
import { checkIdentity } from './identity-checks.js';
import { checkListeners } from './listener-checks.js';
import { checkMachine } from './machine-checks.js';

/**
 * Looks at everything a server needs of its machine, whether it runs or not, and changes nothing. Never raises: a check that cannot be made is a
 * finding, too.
 */
export async function examineServer(config: Config): Promise<readonly Finding[]> {
  const groups: readonly (readonly [string, () => Promise<readonly Finding[]>])[] = [
    ['machine', async () => await checkMachine(config)],
    ['identity', async () => await checkIdentity(config)],
    ['listeners', async () => await checkListeners(config)],
    ['database', async () => await checkDatabase(config)],
    ['artifacts', async () => await checkArtifacts(config)],
    ['control-plane-backup', async () => await checkBackups(config)],
  ];
  const findings: Finding[] = [];
  for (const [name, look] of groups) {
    try {
      findings.push(...(await look()));
    } catch (error) {
      findings.push(
        found(
          name,
          'fail',
          `could not be looked at: ${toProblem(error).message}`,
          'run the doctor as the user that the server runs as, or as root',
        ),
      );
    }
  }
  return findings;
}

/** The command: `-o json` (or `--json`) and the server's own options. Answers the exit code. */
export async function runDoctor(
  argv: readonly string[],
  environment: Environment,
  uid: number,
  print: (text: string) => void,
): Promise<number> {
  const { json, rest } = outputOf(argv);
  const findings = await examineServer(parseConfig(rest, environment, uid));
  print(json ? JSON.stringify(findings, undefined, 2) : findingsText(findings).trimEnd());
  return exitCodeOfFindings(findings);
}

function outputOf(argv: readonly string[]): { readonly json: boolean; readonly rest: readonly string[] } {
  const rest: string[] = [];
  let format = 'text';
  for (let index = 0; index < argv.length; index += 1) {
    const word = argv[index] ?? '';
    const [, inline] = /^--output=(.*)$/.exec(word) ?? [];
    if (word === '--json') format = 'json';
    else if (inline !== undefined) format = inline;
    else if (word === '-o' || word === '--output') {
      index += 1;
      format = argv[index] ?? '';
    } else rest.push(word);
  }
  if (format !== 'text' && format !== 'json') throw new Problem('validation', `--output must be text or json, not ${format}`);
  return { json: format === 'json', rest };
}
