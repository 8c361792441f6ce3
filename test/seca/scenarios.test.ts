import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type ControlPlane, startControlPlane } from '@virt8ra/server/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { authorizationScenarios } from './authorization.js';
import { computeScenarios, regionScenarios, storageScenarios, workspaceScenarios } from './foundations.js';
import { networkScenarios } from './networks.js';
import type { Scenario } from './scenario.js';
import { type Profile, Suite } from './suite.js';
import { usageScenarios } from './usage.js';

const scenarios: readonly Scenario[] = [
  ...authorizationScenarios,
  ...regionScenarios,
  ...workspaceScenarios,
  ...computeScenarios,
  ...storageScenarios,
  ...networkScenarios,
  ...usageScenarios,
];

describe.each<Profile>(['standard', 'conformance'])('in profile %s', (profile) => {
  let plane: ControlPlane;
  let suite: Suite;
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'v8seca-'));
    const subjects = join(folder, 'identity.json');
    await writeFile(subjects, JSON.stringify({ subjects: ['u1@example.org', 'u2@example.org'] }));
    plane = await startControlPlane(['--api-profile', profile, '--identity-file', subjects]);
    await plane.addSite('alpha', { publicAddresses: ['52.93.126.0/26'] });
    await plane.addSite('beta');
    suite = new Suite(plane, profile);
  }, 120_000);
  afterAll(async () => {
    await plane.stop();
    await rm(folder, { recursive: true, force: true });
  }, 60_000);

  it.each(scenarios.map((scenario) => [scenario.name, scenario] as const))(
    '%s holds',
    async (_name, scenario) => await scenario.run(suite),
    60_000,
  );
});

describe('the page on SECA', () => {
  it('has every scenario that differs from the suite, with the difference', async () => {
    const page = await readFile(new URL('../../docs/seca.md', import.meta.url), 'utf8');
    const [, standard = '', conformance = ''] = page.split(/^### In profile .*$/m);
    for (const { name, differs, contradicts } of scenarios) {
      if (differs !== undefined) expect(standard).toContain(`| ${name} | ${differs} |`);
      if (contradicts !== undefined) expect(conformance).toContain(`| ${name} | ${contradicts} |`);
    }
    expect(new Set(scenarios.map(({ name }) => name)).size).toBe(55);
  });
});
