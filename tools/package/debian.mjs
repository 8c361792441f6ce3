// A Debian package of a staged program, made by dpkg-deb.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmodSync, cpSync, mkdirSync, readdirSync, readFileSync, renameSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { gzipSync } from 'node:zlib';
import { root } from '../ensure.mjs';

const sources = join(root, 'tools', 'package', 'debian');

function* filesOf(folder) {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) yield* filesOf(path);
    else if (entry.isFile()) yield path;
  }
}

/** Runs a command; its output is shown only when it fails. */
export function run(command, args, env = {}) {
  const { status, error, stdout, stderr } = spawnSync(command, args, { encoding: 'utf8', env: { ...process.env, ...env } });
  if (error) throw error;
  if (status !== 0) throw new Error(`${command} ${args.join(' ')} ended with ${status}\n${stdout}${stderr}`);
  return stdout;
}

/** Modes that do not depend on who builds. */
function setModes(folder) {
  chmodSync(folder, 0o755);
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) setModes(path);
    else if (entry.isFile()) chmodSync(path, (statSync(path).mode & 0o100) === 0 ? 0o644 : 0o755);
  }
}

/**
 * @param {{ name: string, version: string, architecture: string, control: Record<string, string>, staged: string, programs: string[],
 *   extra?: Record<string, string>, work: string, output: string, epoch: number }} wanted `staged` is moved into the package; `extra`: path → content
 * @returns {string} the file
 */
export function debianPackage({ name, version, architecture, control, staged, programs, extra = {}, work, output, epoch }) {
  const tree = join(work, `${name}.deb-root`);
  const at = (...parts) => join(tree, ...parts);
  const own = join('usr', 'lib', name);
  mkdirSync(at('usr', 'lib'), { recursive: true });
  renameSync(staged, at(own));
  const doc = at('usr', 'share', 'doc', name);
  mkdirSync(doc, { recursive: true });
  renameSync(at(own, 'THIRD-PARTY-LICENCES'), join(doc, 'THIRD-PARTY-LICENCES'));
  renameSync(at(own, 'LICENSE'), join(doc, 'copyright'));
  writeFileSync(join(doc, 'changelog.gz'), gzipSync(readFileSync(join(root, 'CHANGELOG.md')), { level: 9 }));
  mkdirSync(at('usr', 'bin'), { recursive: true });
  for (const program of programs) symlinkSync(join('..', 'lib', name, 'bin', program), at('usr', 'bin', program));
  cpSync(join(sources, name, 'files'), tree, { recursive: true });
  for (const [path, content] of Object.entries(extra)) {
    mkdirSync(dirname(at(path)), { recursive: true });
    writeFileSync(at(path), content);
  }
  setModes(tree);

  const payload = [...filesOf(tree)].sort();
  const kib = Math.ceil(payload.reduce((sum, path) => sum + statSync(path).size, 0) / 1024);
  mkdirSync(at('DEBIAN'));
  const fields = { Package: name, Version: version, Architecture: architecture, 'Installed-Size': String(kib), ...control };
  const write = (file, text, mode = 0o644) => writeFileSync(at('DEBIAN', file), text, { mode });
  write(
    'control',
    Object.entries(fields)
      .map(([field, value]) => `${field}: ${value}\n`)
      .join(''),
  );
  write(
    'md5sums',
    payload.map((path) => `${createHash('md5').update(readFileSync(path)).digest('hex')}  ${relative(tree, path)}\n`).join(''),
  );
  const conffiles = payload.map((path) => `/${relative(tree, path)}`).filter((path) => path.startsWith('/etc/'));
  write('conffiles', conffiles.map((path) => `${path}\n`).join(''));
  for (const script of ['postinst', 'prerm', 'postrm']) write(script, readFileSync(join(sources, name, script), 'utf8'), 0o755);
  chmodSync(at('DEBIAN'), 0o755);
  for (const script of ['postinst', 'prerm', 'postrm']) chmodSync(at('DEBIAN', script), 0o755);

  const file = join(output, `${name}_${version}_${architecture}.deb`);
  run('dpkg-deb', ['--root-owner-group', '-Zgzip', '-z6', '--build', tree, file], { SOURCE_DATE_EPOCH: String(epoch) });
  return file;
}
