import { execFile } from 'node:child_process';
import { cp, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const root = fileURLToPath(new URL('../..', import.meta.url));
const run = promisify(execFile);

/** A change to one file of a release: the text that must be there, and what stands there instead. */
export interface Change {
  /** Below `lib/node_modules/@virt8ra`. */
  readonly file: string;
  readonly from: string;
  readonly to: string;
}

/** Releases of the agent as `npm run package` makes them, and such as nobody should. */
export class TestReleases {
  readonly #folder: string;

  private constructor(folder: string) {
    this.#folder = folder;
  }

  static async make(folder: string): Promise<TestReleases> {
    await run(process.execPath, [join(root, 'tools/package.mjs'), '--output', folder, '--node', 'system', 'virt8ra-agent']);
    const arch = process.arch === 'x64' ? 'amd64' : process.arch;
    await mkdir(join(folder, 'installed'), { recursive: true });
    await run('tar', [
      '-xzf',
      join(folder, `virt8ra-agent-0.1.0-linux-${arch}.tar.gz`),
      '-C',
      join(folder, 'installed'),
      '--strip-components=1',
    ]);
    return new TestReleases(folder);
  }

  /** The program that a package installs. */
  get launcher(): string {
    return join(this.#folder, 'installed', 'bin', 'virt8ra-agent');
  }

  /** The tarball of another version, changed as told. */
  async tarball(version: string, changes: readonly Change[] = []): Promise<string> {
    const name = `virt8ra-agent-${version}`;
    const folder = join(this.#folder, name);
    await cp(join(this.#folder, 'installed'), folder, { recursive: true });
    const manifest = join(folder, 'RELEASE.json');
    const told = JSON.parse(await readFile(manifest, 'utf8')) as { readonly architecture: string };
    await writeFile(manifest, JSON.stringify({ ...told, version, build: version }));
    const own = { file: 'agent/dist/version.js', from: "'0.1.0'", to: `'${version}'` };
    for (const { file, from, to } of [own, ...changes]) {
      const path = join(folder, 'lib/node_modules/@virt8ra', file);
      const text = await readFile(path, 'utf8');
      if (!text.includes(from)) throw new Error(`${file} has no ${from}`);
      await writeFile(path, text.replace(from, to));
    }
    const tarball = `${folder}-linux-${told.architecture}.tar.gz`;
    await run('tar', ['--sort=name', '-czf', tarball, '-C', this.#folder, name]);
    return tarball;
  }
}
