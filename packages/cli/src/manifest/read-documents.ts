import { readdir, readFile, stat } from 'node:fs/promises';
import { extname, join } from 'node:path';
import { Problem } from '@virt8ra/contract';
import type { Document, LineCounter } from 'yaml';
import type { Terminal } from '../terminal.js';
import type { RawDocument } from './manifest-document.js';

const extensions = new Set(['.yaml', '.yml', '.json']);

/**
 * Reads every document of files, folders (their `.yaml`, `.yml` and `.json` files, by name) and `-`. JSON is read as the YAML it is.
 * Raises `invalid-request` with file and line when something cannot be read.
 */
export async function readDocuments(terminal: Terminal, paths: readonly string[]): Promise<readonly RawDocument[]> {
  const documents: RawDocument[] = [];
  for (const path of paths) {
    if (path === '-') documents.push(...(await parseDocuments(await terminal.readStdin(), 'standard input')));
    else for (const file of await filesOf(path)) documents.push(...(await parseDocuments(await textOf(file), file)));
  }
  if (documents.length === 0) throw new Problem('invalid-request', `no document in ${paths.join(', ')}`);
  return documents;
}

async function filesOf(path: string): Promise<readonly string[]> {
  try {
    if (!(await stat(path)).isDirectory()) return [path];
    const names = await readdir(path);
    return names
      .filter((name) => extensions.has(extname(name)))
      .sort()
      .map((name) => join(path, name));
  } catch (cause) {
    throw unreadable(path, cause);
  }
}

async function textOf(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (cause) {
    throw unreadable(file, cause);
  }
}

function unreadable(path: string, cause: unknown): Problem {
  const code = (cause as NodeJS.ErrnoException).code;
  const reason = code === 'ENOENT' ? 'it does not exist' : (cause as Error).message;
  return new Problem('invalid-request', `cannot read ${path}: ${reason}`, { cause });
}

/** Documents of one text; a list (`{items: […]}`, as `get` prints it) counts as its items. Empty documents are passed over. */
export async function parseDocuments(text: string, source: string): Promise<readonly RawDocument[]> {
  const { LineCounter, parseAllDocuments } = await import('yaml');
  const lines = new LineCounter();
  const parsed = parseAllDocuments(text, { lineCounter: lines, prettyErrors: false });
  if (!Array.isArray(parsed)) return [];
  return parsed.flatMap((document) => {
    const [error] = document.errors;
    if (error !== undefined) {
      const line = lines.linePos(error.pos[0]).line;
      throw new Problem('invalid-request', `${source}:${line}: ${error.message}`);
    }
    const value = plainValue(document, source);
    if (value === null || value === undefined) return [];
    const { items } = value as { items?: unknown };
    if (!Array.isArray(items)) return [{ source, value, lineOf: lineFinder(document, lines, []) }];
    return items.map((item: unknown, index) => ({ source, value: item, lineOf: lineFinder(document, lines, ['items', index]) }));
  });
}

function plainValue(document: Document, source: string): unknown {
  try {
    // A document of a few lines can name the same anchor a million times over.
    return document.toJS({ maxAliasCount: 100 });
  } catch (cause) {
    throw new Problem('invalid-request', `${source}: ${(cause as Error).message}`, { cause });
  }
}

function lineFinder(document: Document, lines: LineCounter, prefix: readonly (string | number)[]): (pointer: string) => number {
  return (pointer) => {
    const path = [
      ...prefix,
      ...pointer
        .split('/')
        .slice(1)
        .map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~')),
    ];
    for (let length = path.length; length >= 0; length -= 1) {
      const node = document.getIn(path.slice(0, length), true) as { range?: readonly number[] } | undefined;
      const offset = typeof node === 'object' ? node?.range?.[0] : undefined;
      if (offset !== undefined) return lines.linePos(offset).line;
    }
    return 1;
  };
}
