// Lays out a program with all that it needs in one folder: bin/ with launchers, lib/node_modules, and the licences of others.
import { chmodSync, copyFileSync, cpSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { root } from '../ensure.mjs';

/** Nothing of these is read at run time; the folders are meant at a package's top only. */
const unused = /(\.d\.[cm]?ts|\.map|\.tsbuildinfo|\.test\.js|\.md|\.markdown)$/;
const unusedFolders = new Set([
  'test',
  'tests',
  '__tests__',
  'testing',
  'docs',
  'doc',
  'example',
  'examples',
  'benchmark',
  'benchmarks',
  '.github',
  'node_modules',
]);
/** Of packages with much that is not read: what is. */
const used = { 'swagger-ui-dist': /^(package\.json|LICENSE|NOTICE|swagger-ui(\.css|-bundle\.js(\.LICENSE\.txt)?))$/ };
const licenceFile = /^(licen[cs]e|copying|notice)/i;

/** @param {import('./closure.mjs').Part} part */
function copyPart({ name, folder, own, place }, to) {
  const target = join(to, place);
  mkdirSync(target, { recursive: true });
  if (!own) {
    const isUnused = (path) => dirname(path) === folder && unusedFolders.has(basename(path)) && statSync(path).isDirectory();
    const isUsed = (path) => used[name]?.test(basename(path)) ?? !(isUnused(path) || unused.test(path));
    cpSync(folder, target, { recursive: true, filter: (path) => path === folder || isUsed(path) });
    return;
  }
  copyFileSync(join(folder, 'package.json'), join(target, 'package.json'));
  for (const each of ['dist', 'data']) {
    if (!existsSync(join(folder, each))) continue;
    cpSync(join(folder, each), join(target, each), {
      recursive: true,
      filter: (path) => basename(path) !== 'testing' && !unused.test(path),
    });
  }
}

/** Licences of what is not ours, word for word where it brings them. Throws for a part whose licence is not known at all. */
function thirdPartyLicences(parts, node) {
  const texts = ['This package contains software of others, each under its own licence.\n'];
  for (const { name, version, licence, folder } of parts.filter(({ own }) => !own)) {
    const files = readdirSync(folder).filter((file) => licenceFile.test(file) && statSync(join(folder, file)).isFile());
    if (files.length === 0 && licence === 'unknown') throw new Error(`${name} ${version} does not say under which licence it is`);
    const text = files.map((file) => readFileSync(join(folder, file), 'utf8').trim()).join('\n\n');
    texts.push(
      `${'='.repeat(80)}\n${name} ${version}: ${licence}\n${'-'.repeat(80)}\n${text || `Its package brings no text; it names the licence ${licence}.`}\n`,
    );
  }
  if (node !== undefined) {
    texts.push(`${'='.repeat(80)}\nNode.js ${process.version}\n${'-'.repeat(80)}\n${readFileSync(node.licence, 'utf8').trim()}\n`);
  }
  return texts.join('\n');
}

/** The Node that runs this, to be taken along. Throws when its licence is not to be found beside it. */
export function bundledNode() {
  const program = process.execPath;
  const licences = [join(dirname(dirname(program)), 'LICENSE'), '/usr/share/doc/nodejs/LICENSE', '/usr/share/doc/nodejs/copyright'];
  const licence = licences.find((file) => existsSync(file));
  if (licence === undefined) throw new Error(`the licence of ${program} is not to be found; build with --node system`);
  return { program, licence };
}

function launcher(main, bundled, text) {
  const node = bundled ? '"$here/node"' : 'node';
  if (text !== undefined) return text.replaceAll('@node@', node).replaceAll('@main@', `"$here/../lib/node_modules/${main}"`);
  return `#!/bin/sh
here=$(dirname "$(readlink -f "$0")")
exec ${node} "$here/../lib/node_modules/${main}" "$@"
`;
}

/**
 * @param {{ to: string, parts: import('./closure.mjs').Part[], programs: Record<string, string>, node: ReturnType<typeof bundledNode> | undefined,
 *   launchers?: Record<string, string>, release?: Record<string, string> }} wanted
 *   `programs`: name of the launcher → main file below node_modules; `launchers`: those that do more than start it, by content, where `@node@` and `@main@`
 *   stand for these two; `release`: what `RELEASE.json` says
 */
export function stageProgram({ to, parts, programs, node, launchers = {}, release }) {
  mkdirSync(join(to, 'bin'), { recursive: true });
  const modules = join(to, 'lib', 'node_modules');
  for (const part of parts) copyPart(part, modules);
  for (const [name, main] of Object.entries(programs)) {
    if (!existsSync(join(modules, main))) throw new Error(`${main} is not built; run npm run build`);
    writeFileSync(join(to, 'bin', name), launcher(main, node !== undefined, launchers[name]), { mode: 0o755 });
    chmodSync(join(to, 'bin', name), 0o755);
  }
  if (node !== undefined) {
    copyFileSync(node.program, join(to, 'bin', 'node'));
    chmodSync(join(to, 'bin', 'node'), 0o755);
  }
  copyFileSync(join(root, 'LICENSE'), join(to, 'LICENSE'));
  if (release !== undefined) writeFileSync(join(to, 'RELEASE.json'), `${JSON.stringify(release)}\n`);
  writeFileSync(join(to, 'THIRD-PARTY-LICENCES'), thirdPartyLicences(parts, node));
}
