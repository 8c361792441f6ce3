import { type Kind, kinds } from '@virt8ra/contract';
import { readContexts } from '../context/context-file.js';
import { kindFromNoun, nounsOf } from '../noun.js';
import { formats } from '../output/format.js';
import { collectionsOf, type GlobalFlags, openSession } from '../session.js';
import type { Terminal } from '../terminal.js';
import { shells } from './completion-script.js';

/** What the command line offers, as the parser knows it. */
export interface CommandWords {
  readonly names: readonly string[];
  readonly kindCommands: readonly string[];
  /** Flags of a command, global ones included. */
  flagsOf(command: string): readonly string[];
  /** Whether a flag is followed by a value. */
  takesValue(command: string, flag: string): boolean;
  subcommandsOf(command: string): readonly string[];
}

/** No more than this many names are offered. */
const namesOffered = 500;

const kindOfCommand: Readonly<Record<string, string>> = {
  start: 'instance',
  stop: 'instance',
  restart: 'instance',
  migrate: 'instance',
  console: 'instance',
  vnc: 'instance',
  ssh: 'instance',
  'port-forward': 'instance',
  resize: 'instance',
  attach: 'instance',
  backup: 'instance',
  restore: 'backup',
  snapshot: 'instance',
  revert: 'snapshot',
  detach: 'instance',
  cancel: 'migration',
  migration: 'migration',
  cutover: 'migration',
  cordon: 'host',
  uncordon: 'host',
  rekey: 'host',
  update: 'host',
  enrol: 'host',
};

/** Candidates for the last of `words` (those after `virt8ra`), which may be empty. Asks the control plane for names. */
export async function completeWords(terminal: Terminal, words: readonly string[], commands: CommandWords): Promise<readonly string[]> {
  const current = words.at(-1) ?? '';
  const before = words.slice(0, -1);
  const positional: string[] = [];
  const flags: { context?: string; tenant?: string; workspace?: string; network?: string } = {};
  const command = before.find((word) => !word.startsWith('-') && commands.names.includes(word)) ?? '';
  let awaiting: string | undefined;
  for (const word of before) {
    if (awaiting !== undefined) {
      const part = awaiting.slice(2);
      if (part === 'context' || part === 'tenant' || part === 'workspace' || part === 'network') flags[part] = word;
      awaiting = undefined;
    } else if (word.startsWith('-')) awaiting = commands.takesValue(command, word) ? word : undefined;
    else positional.push(word);
  }
  const candidates =
    awaiting === undefined
      ? current.startsWith('-')
        ? commands.flagsOf(command)
        : await positionals(terminal, flags, positional, current, commands)
      : await flagValues(terminal, flags, awaiting);
  return candidates.filter((candidate) => candidate.startsWith(current));
}

async function flagValues(terminal: Terminal, flags: GlobalFlags, flag: string): Promise<readonly string[]> {
  switch (flag) {
    case '-o':
    case '--output':
      return formats;
    case '--context':
      return Object.keys((await readContexts(terminal.environment.configFolder)).contexts);
    case '--mode':
      return ['live', 'warm', 'cold'];
    case '--boot-probe':
      return ['isolation', 'place'];
    case '--cutover':
      return ['asked', 'now', 'below:300ms'];
    case '--fallback':
      return ['warm'];
    case '--format':
      return ['qcow2', 'raw'];
    case '--arch':
      return ['amd64', 'arm64'];
    case '--boot':
      return ['UEFI', 'BIOS'];
    case '--for':
      return ['state=active', 'deleted', 'exists', 'power=on', 'power=off', 'activity=running', 'activity=stopped', 'phase=done'];
    case '--kinds':
      return kinds.map((kind) => kind.kind);
    case '--to':
    case '--site':
      return namesOf(terminal, flags, kindFromNoun('site'));
    case '--workspace':
      return namesOf(terminal, flags, kindFromNoun('workspace'));
    case '--network':
      return namesOf(terminal, flags, kindFromNoun('network'));
    default:
      return [];
  }
}

async function positionals(
  terminal: Terminal,
  flags: GlobalFlags,
  positional: readonly string[],
  current: string,
  commands: CommandWords,
): Promise<readonly string[]> {
  const [command, first] = positional;
  if (command === undefined) return commands.names;
  const subcommands = commands.subcommandsOf(command);
  if (subcommands.length > 0 && first === undefined) return subcommands;
  if (command === 'context') return Object.keys((await readContexts(terminal.environment.configFolder)).contexts);
  if (command === 'completion') return shells;
  if ((command === 'attach' || command === 'detach') && first !== undefined) return namesOf(terminal, flags, kindFromNoun('disk'));
  const noun = kindOfCommand[command];
  if (noun !== undefined) return namesOf(terminal, flags, kindFromNoun(noun));
  if (!commands.kindCommands.includes(command)) return [];
  const slash = current.indexOf('/');
  if (slash > 0) {
    const prefix = current.slice(0, slash);
    return (await namesOf(terminal, flags, kindFromNoun(prefix))).map((name) => `${prefix}/${name}`);
  }
  if (first === undefined) return kinds.flatMap((kind) => nounsOf(kind));
  const given = new Set(positional.slice(2));
  return (await namesOf(terminal, flags, kindFromNoun(first))).filter((name) => !given.has(name));
}

async function namesOf(terminal: Terminal, flags: GlobalFlags, kind: Kind): Promise<readonly string[]> {
  const session = await openSession(terminal, flags);
  const names: string[] = [];
  for await (const within of collectionsOf(session, kind, false)) {
    for await (const item of session.client.list(kind, within, { pageSize: namesOffered })) {
      names.push(item.metadata.name);
      if (names.length >= namesOffered) return names;
    }
  }
  return names;
}
