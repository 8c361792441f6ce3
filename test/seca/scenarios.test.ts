import { readFile } from 'node:fs/promises';
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
  beforeAll(async () => {
    plane = await startControlPlane(['--api-profile', profile]);
    await plane.addSite('alpha', { publicAddresses: ['52.93.126.0/26'] });
    await plane.addSite('beta');
    suite = new Suite(plane, profile);
  }, 120_000);
  afterAll(async () => await plane.stop(), 60_000);

  it.each(scenarios.map((scenario) => [scenario.name, scenario] as const))(
    '%s holds',
    async (_name, scenario) => await scenario.run(suite),
    60_000,
  );
});

describe('the page on SECA', () => {
  it('has every scenario that differs from the suite, with the difference', async () => {
    const page = await readFile(new URL('../../docs/seca.md', import.meta.url), 'utf8');
    for (const { name, differs } of scenarios) if (differs !== undefined) expect(page).toContain(`| ${name} | ${differs} |`);
    expect(new Set(scenarios.map(({ name }) => name)).size).toBe(55);
  });
});
