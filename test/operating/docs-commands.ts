import { readFileSync } from 'node:fs';

/** A fenced block of the documentation whose first line is ```` ```sh MACHINE [ROLE] ````. */
export interface DocsBlock {
  readonly machine: 'server' | 'host';
  /** `enrol`: for each host, and what it prints is run there. `each`: once for each host. */
  readonly role: 'plain' | 'enrol' | 'each';
  /** The heading it stands under. */
  readonly under: string;
  readonly script: string;
}

/** Every block of a page that is to be run, in order. Raises an error for a marker that means nothing. */
export function docsBlocks(file: string): readonly DocsBlock[] {
  const blocks: DocsBlock[] = [];
  let under = '';
  let open: { readonly words: readonly string[]; readonly lines: string[] } | undefined;
  for (const line of readFileSync(file, 'utf8').split('\n')) {
    if (open !== undefined) {
      if (line !== '```') {
        open.lines.push(line);
        continue;
      }
      blocks.push(blockFrom(open.words, under, open.lines.join('\n')));
      open = undefined;
    } else if (line.startsWith('```sh ')) open = { words: line.slice('```sh '.length).split(' '), lines: [] };
    else if (line.startsWith('#')) under = line.replace(/^#+ /, '');
  }
  return blocks;
}

function blockFrom([machine, role = 'plain']: readonly string[], under: string, script: string): DocsBlock {
  if (machine !== 'server' && machine !== 'host') throw new Error(`nothing is called ${machine} (${under})`);
  if (role !== 'plain' && role !== 'enrol' && role !== 'each') throw new Error(`a block cannot be ${role} (${under})`);
  return { machine, role, under, script };
}
