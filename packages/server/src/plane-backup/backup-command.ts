import { resolve } from 'node:path';
import { Problem } from '@virt8ra/contract';
import type { Log } from '@virt8ra/engine';
import { type Config, type Environment, parseConfig } from '../config.js';
import { runningDatabase } from '../database/running-database.js';
import { createLog } from '../telemetry/log.js';
import { makeBackup } from './make-backup.js';
import { type BackupVerification, verifyBackup } from './verify-backup.js';

type Print = (text: string) => void;

/** `backup [--to DIRECTORY]` and `backup verify FILE`, both with `-o json` and the server's own options. Answers the exit code. */
export async function runBackup(argv: readonly string[], environment: Environment, uid: number, print: Print): Promise<number> {
  const { words, to, json, config, log } = backupArguments(argv, environment, uid);
  if (words[0] === 'verify' && words.length === 2) {
    const found = await verifyBackup(resolve(words[1] ?? ''), config, log);
    print(json ? JSON.stringify(found, undefined, 2) : verificationText(found));
    return found.faults.length === 0 ? 0 : 1;
  }
  if (words.length > 0) throw new Problem('validation', `backup ${words.join(' ')} is no command; see --help`);
  const directory = to ?? config.controlPlaneBackup.directory;
  if (directory === undefined)
    throw new Problem('validation', 'say where the backup goes: --to DIRECTORY, or controlPlaneBackup.directory', {
      sources: [{ parameter: '--to' }],
    });
  const made = await makeBackup({ config, directory, connection: await runningDatabase(config), log });
  const { artifacts, missing } = made.manifest;
  if (json)
    print(JSON.stringify({ file: made.path, bytes: made.bytes, seconds: made.seconds, pruned: made.pruned, missing }, undefined, 2));
  else {
    print(`${made.path}: ${megabytes(made.bytes)} MB, and ${artifacts.length} contents beside it, in ${made.seconds} s`);
    for (const sha256 of missing) print(`content ${sha256} is named by a row and is not in the artifact store`);
  }
  return 0;
}

export interface BackupArguments {
  readonly words: readonly string[];
  readonly to: string | undefined;
  readonly json: boolean;
  readonly config: Config;
  readonly log: Log;
}

/** Words, `--to`, `-o`, `--passphrase-file`; the rest are the server's options. Raises `validation`. */
export function backupArguments(argv: readonly string[], environment: Environment, uid: number): BackupArguments {
  const words: string[] = [];
  const rest: string[] = [];
  const own = new Map<string, string>();
  const short: Readonly<Record<string, string>> = { '-o': 'output' };
  for (let index = 0; index < argv.length; index += 1) {
    const given = argv[index] ?? '';
    const [, long, inline] = /^--(to|output|passphrase-file)(?:=([\s\S]*))?$/.exec(given) ?? [];
    const name = long ?? short[given];
    if (name !== undefined) {
      if (inline === undefined) index += 1;
      const value = inline ?? argv[index];
      if (value === undefined || value === '')
        throw new Problem('validation', `${given} needs a value`, { sources: [{ parameter: given }] });
      own.set(name, value);
    } else if (given.startsWith('--')) {
      rest.push(given);
      // A value of the server's options; switches are given as --name=value, or alone at the end.
      if (!given.includes('=') && argv[index + 1] !== undefined && !argv[index + 1]?.startsWith('--')) {
        index += 1;
        rest.push(argv[index] ?? '');
      }
    } else words.push(given);
  }
  const output = own.get('output') ?? 'text';
  if (output !== 'text' && output !== 'json') throw new Problem('validation', `--output must be text or json, not ${output}`);
  const passphrase = own.get('passphrase-file');
  if (passphrase !== undefined) rest.push('--control-plane-backup-passphrase-file', passphrase);
  const config = parseConfig(rest, environment, uid);
  const to = own.get('to');
  return {
    words,
    to: to === undefined ? undefined : resolve(to),
    json: output === 'json',
    config,
    log: createLog((line) => process.stderr.write(line), config.log.level === 'info' ? 'warn' : config.log.level),
  };
}

function verificationText(found: BackupVerification): string {
  const { artifacts, audit, faults } = found;
  const lines = [
    `${found.file}: of ${found.at}, made by ${found.build}${found.encrypted ? ', encrypted' : ''}`,
    `database   ${found.tables} tables, ${found.rows} rows`,
    `audit      ${audit.checked} rows of the chain${audit.unsealed === 0 ? '' : `, ${audit.unsealed} that were not sealed yet`}`,
    `content    ${artifacts.checked}, ${megabytes(artifacts.bytes)} MB`,
    faults.length === 0 ? 'it was restored aside, and is what was backed up' : `it does not hold: ${faults.length} faults`,
    ...faults.map((fault) => `  ${fault}`),
  ];
  return lines.join('\n');
}

export function megabytes(bytes: number): string {
  return (bytes / 1e6).toFixed(1);
}
