import { execFile, execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';
import { startTestControlPlane, type TestControlPlane } from '@virt8ra/client/testing';
import { instance, site } from '@virt8ra/contract';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { buildCli, createHome, type Home, mainPath } from '../testing/run-cli.js';

let plane: TestControlPlane;
let home: Home;
beforeAll(buildCli, 120_000);
beforeEach(async () => {
  plane = await startTestControlPlane();
  home = createHome();
  plane.set(instance, { tenant: 't', workspace: 'w', name: 'web' }, {});
  plane.set(instance, { tenant: 't', workspace: 'w', name: 'worker' }, {});
  plane.set(instance, { tenant: 't', workspace: 'other', name: 'db' }, {});
  plane.set(site, { name: 'north' }, {});
});
afterEach(async () => {
  await plane.stop();
  home.remove();
});

const variables = () => ({ VIRT8RA_SERVER: plane.url, VIRT8RA_TOKEN: plane.token, VIRT8RA_TENANT: 't', VIRT8RA_WORKSPACE: 'w' });
const complete = async (...words: string[]) =>
  (await home.run(['__complete', ...words], { variables: variables() })).out.split('\n').slice(0, -1);

describe('completion', () => {
  it('offers commands, kinds, names, flags and their values', async () => {
    expect(await complete('ap')).toEqual(['apply']);
    expect(await complete('get', 'ins')).toEqual([
      'instance-sku',
      'instance-skus',
      'instance',
      'instances',
      'instance-import',
      'instance-imports',
    ]);
    expect(await complete('get', 'instance', 'w')).toEqual(['web', 'worker']);
    expect(await complete('describe', 'instance', 'web', '')).toEqual(['worker']);
    expect(await complete('get', 'vm/we')).toEqual(['vm/web']);
    expect(await complete('stop', '')).toEqual(['web', 'worker']);
    expect(await complete('stop', '--workspace', 'other', '')).toEqual(['db']);
    expect(await complete('migrate', 'web', '--to', '')).toEqual(['north']);
    expect(await complete('migrate', 'web', '--mode', 'c')).toEqual(['cold']);
    expect(await complete('migrate', '--de')).toEqual(['--detach']);
    expect(await complete('console', 'w')).toEqual(['web', 'worker']);
    expect(await complete('port-forward', '--st')).toEqual(['--stdio']);
    expect(await complete('get', 'sites', '-o', 'y')).toEqual(['yaml']);
    expect(await complete('context', '')).toEqual(['list', 'use', 'show', 'delete']);
    expect(await complete('completion', '')).toEqual(['bash', 'zsh', 'fish']);
  });

  it('completes in a real bash', async () => {
    const bin = join(home.folder, 'bin');
    mkdirSync(bin);
    writeFileSync(join(bin, 'virt8ra'), `#!/bin/sh\nexec ${process.execPath} ${mainPath} "$@"\n`);
    chmodSync(join(bin, 'virt8ra'), 0o755);
    const { out } = await home.run(['completion', 'bash']);
    const ask = (words: readonly string[]) => {
      const quoted = words.map((word) => `'${word}'`).join(' ');
      const text = `${out}\nCOMP_WORDS=(${quoted}); COMP_CWORD=${words.length - 1}; _virt8ra; printf '%s\\n' "\${COMPREPLY[@]}"`;
      const env = { PATH: `${bin}${delimiter}${process.env['PATH']}`, HOME: home.folder, ...variables() };
      return linesOfBash(text, env);
    };
    expect(await ask(['virt8ra', 'migrat'])).toEqual(['migrate', 'migration']);
    expect(await ask(['virt8ra', 'get', 'block'])).toEqual(['block-storage', 'block-storages']);
    expect(await ask(['virt8ra', 'get', 'instance', 'w'])).toEqual(['web', 'worker']);
  });

  for (const shell of ['zsh', 'fish'] as const) {
    const absent = spawnSync(shell, ['-c', 'true']).error !== undefined;
    it.skipIf(absent)(`makes a script that ${shell} can read${absent ? ` (skipped: no ${shell} here)` : ''}`, async () => {
      const { out } = await home.run(['completion', shell]);
      execFileSync(shell, ['-n'], { input: out });
    });
  }

  it('refuses other shells', async () => {
    expect((await home.run(['completion', 'tcsh'])).code).toBe(2);
  });
});

/** The script calls back to this process' control plane, so that waiting must not block. */
async function linesOfBash(script: string, env: Readonly<Record<string, string>>): Promise<readonly string[]> {
  const { stdout } = await promisify(execFile)('bash', ['-c', script], { env });
  return stdout.split('\n').slice(0, -1);
}
