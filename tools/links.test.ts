import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { describe, expect, it } from 'vitest';
import { root } from './ensure.mjs';

const skipped = ['node_modules', 'dist', '.git', '.cache', '.state'];

function markdownUnder(folder: string): readonly string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return skipped.includes(entry.name) ? [] : markdownUnder(path);
    return entry.name.endsWith('.md') ? [path] : [];
  });
}

const withoutCode = (text: string) => text.replaceAll(/^```[\s\S]*?^```/gm, '').replaceAll(/`[^`\n]*`/g, '');

/** Anchors of headings as code forges make them. */
function anchorsOf(text: string): readonly string[] {
  return [...text.replaceAll(/^```[\s\S]*?^```/gm, '').matchAll(/^#+ +(.+)$/gm)].map(([, title = '']) =>
    title
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N}\s_-]/gu, '')
      .replaceAll(' ', '-'),
  );
}

/** Relative links of a text, as if it stood in `file`, that lead nowhere. */
function brokenLinks(file: string, text: string): readonly string[] {
  const targets = [...withoutCode(text).matchAll(/\]\(([^)\s]+)\)/g)].map(([, target = '']) => target);
  return targets.filter((target) => {
    if (/^[a-z]+:/.test(target)) return false;
    const [path = '', anchor] = target.split('#');
    const found = path === '' ? file : join(dirname(file), path);
    if (!existsSync(found)) return true;
    return anchor !== undefined && !anchorsOf(path === '' ? text : readFileSync(found, 'utf8')).includes(anchor);
  });
}

describe('links in the documentation', () => {
  it.each(markdownUnder(root).map((file) => [relative(root, file), file]))('lead somewhere: %s', (_, file) => {
    expect(brokenLinks(file, readFileSync(file, 'utf8'))).toEqual([]);
  });

  it('are found out when they do not', () => {
    const text = '# Up here\n[a](LICENSE) [b](no-such-file.md) [c](#up-here) [d](#down-there) `[e](code)` [f](https://example.org)\n';
    expect(brokenLinks(join(root, 'README.md'), text)).toEqual(['no-such-file.md', '#down-there']);
  });
});
