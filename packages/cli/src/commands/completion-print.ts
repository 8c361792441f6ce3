import { kinds, Problem } from '@virt8ra/contract';
import type { CommandWords } from '../completion/complete-words.js';
import { completionScript, shells } from '../completion/completion-script.js';
import { nounsOf } from '../noun.js';
import type { Terminal } from '../terminal.js';

/** Prints the completion script of a shell. */
export function completionPrint(terminal: Terminal, shell: string, words: CommandWords): void {
  const known = shells.find((each) => each === shell);
  if (known === undefined)
    throw new Problem('invalid-request', `no completion for ${JSON.stringify(shell)}; there is ${shells.join(', ')}`);
  const nouns = kinds.flatMap((kind) => nounsOf(kind));
  terminal.out(completionScript(known, { commands: words.names, kindCommands: words.kindCommands, nouns }));
}
