import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { findingsText, maskSecrets, Problem, toProblem, withoutSecrets } from '@virt8ra/contract';
import type { AgentConfig } from '../config.js';
import { readText } from '../disk/atomic-file.js';
import { hasCommand, runCommand } from '../system/run-command.js';
import { agentVersion } from '../version.js';
import { examineHost } from './doctor.js';

/** What this host says of itself, by command; what is not installed is left out. */
const commands: Readonly<Record<string, readonly string[]>> = {
  'log.txt': ['journalctl', '-u', 'virt8ra-agent', '-n', '5000', '--no-pager', '-o', 'cat'],
  'addresses.txt': ['ip', '-d', 'address'],
  'routes.txt': ['ip', 'route', 'show', 'table', 'all'],
  'bridges.txt': ['bridge', '-d', 'link'],
  'packet-filter.txt': ['nft', 'list', 'ruleset'],
  'processes.txt': ['ps', '-eo', 'pid,ppid,user,rss,etime,args'],
  'disks.txt': ['df', '-hT'],
};

/**
 * Packs what someone needs who is to help: the doctor's findings, what is desired of this host, what it remembers and logged. Keys, tokens,
 * user data and SSH keys are left out or masked; disks and their content are never in it. Answers the names of the files in it.
 * Raises `unsupported` without tar, `conflict` when the file is there already.
 */
export async function writeSupportBundle(config: AgentConfig, file: string): Promise<readonly string[]> {
  if ((await readText(file).catch(() => '')) !== undefined) throw new Problem('conflict', `${file} is there already; name another`);
  const scratch = await mkdtemp(join(tmpdir(), 'virt8ra-bundle-'));
  const folder = 'virt8ra-agent';
  try {
    const parts = new Map<string, string>();
    const findings = await examineHost(config);
    parts.set('doctor.txt', findingsText(findings));
    parts.set('doctor.json', json(findings));
    parts.set(
      'agent.json',
      json({ version: agentVersion, node: process.version, config: withoutSecrets({ ...config, enrol: undefined }) }),
    );
    for (const [name, text] of await stateFiles(config.stateDirectory)) parts.set(name, text);
    for (const [name, [command = '', ...words]] of Object.entries(commands)) {
      if (!(await hasCommand(command))) continue;
      parts.set(
        name,
        maskSecrets(await runCommand(command, words, { timeoutMs: 15_000 }).catch((error: unknown) => toProblem(error).message)),
      );
    }
    const inside = join(scratch, folder);
    await runCommand('mkdir', [inside]);
    for (const [name, text] of parts) await writeFile(join(inside, name), text, { mode: 0o600 });
    await runCommand('tar', ['-czf', resolve(file), '-C', scratch, folder]);
    return [...parts.keys()];
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

/** JSON files of the state that hold no key of this host; each without the secrets of its guests. */
async function stateFiles(stateDirectory: string): Promise<readonly (readonly [string, string])[]> {
  const files: [string, string][] = [];
  const take = async (name: string, path: string): Promise<void> => {
    const text = await readText(path).catch((error: unknown) => `cannot be read: ${toProblem(error).message}`);
    if (text !== undefined) files.push([name, maskedJson(text)]);
  };
  for (const name of ['ledger.json', 'hypervisor.json', 'permits.jsonl']) await take(name, join(stateDirectory, name));
  for (const [folder, record] of [
    ['instances', 'instance.json'],
    ['volumes', 'volume.json'],
    ['transfers', 'transfer.json'],
  ] as const) {
    const keys = await readdir(join(stateDirectory, folder)).catch(() => []);
    for (const key of keys) await take(`${folder}-${key}.json`, join(stateDirectory, folder, key, record));
  }
  return files;
}

/** The key of a thing is no secret on a host; a key that opens something never stands in these files. */
const harmless = ['key'];

function maskedJson(text: string): string {
  try {
    return json(withoutSecrets(JSON.parse(text), harmless));
  } catch {
    return maskSecrets(text);
  }
}

function json(value: unknown): string {
  return `${JSON.stringify(value, undefined, 2)}\n`;
}
