import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { describedApi } from '../app-description.js';
import { type ControlPlane, startControlPlane } from '../testing/control-plane.js';

interface Operation {
  readonly operationId: string;
  readonly summary: string;
  readonly responses: Readonly<Record<string, unknown>>;
}
interface Description {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  readonly components: { readonly schemas: Readonly<Record<string, unknown>> };
}

let plane: ControlPlane;
let text: string;
let description: Description;
beforeAll(async () => {
  plane = await startControlPlane();
  text = await (await fetch(`${plane.url}/openapi.json`)).text();
  description = JSON.parse(text) as Description;
}, 120_000);
afterAll(async () => await plane.stop(), 60_000);

const methods = ['get', 'head', 'put', 'post', 'patch', 'delete'];
const described = (): readonly string[] =>
  Object.entries(description.paths).flatMap(([path, item]) =>
    Object.keys(item)
      .filter((method) => methods.includes(method))
      .map((method) => `${method.toUpperCase()} ${path}`),
  );

describe('the description', () => {
  it('names every route that is served, and no other', () => {
    const served = new Set(plane.routes.map(({ method, path }) => `${method} ${path.replaceAll(/:(\w+)/g, '{$1}')}`));
    // Whatever answers GET answers HEAD, as HTTP has it.
    const untold = [...served].filter((route) => !described().includes(route) && !described().includes(route.replace(/^HEAD /, 'GET ')));
    // These are no requests but WebSockets, which come by an upgrade.
    const upgrades = /^GET .*\/instances\/\{name\}\/(console|vnc|ports\/\{port\})$/;
    const invented = described().filter((route) => !served.has(route) && !upgrades.test(route));

    expect(served.size).toBeGreaterThan(200);
    expect(untold).toEqual([]);
    expect(invented).toEqual([]);
    expect(described().filter((route) => upgrades.test(route))).toHaveLength(3);
  });

  it('gives every operation a name of its own, a summary and answers, and resolves all its references', () => {
    const operations = Object.values(description.paths).flatMap((item) => methods.flatMap((method) => item[method] ?? []));
    const ids = operations.map(({ operationId }) => operationId);
    expect(new Set(ids).size).toBe(ids.length);
    for (const { operationId, summary, responses } of operations) {
      expect(summary, operationId).toMatch(/\w/);
      expect(
        Object.keys(responses).some((code) => Number(code) < 300),
        operationId,
      ).toBe(true);
    }
    const names = [...text.matchAll(/"#\/components\/schemas\/(\w+)"/g)].map(([, name]) => name ?? '');
    expect(names.filter((name) => description.components.schemas[name] === undefined)).toEqual([]);
  });

  it('is what a release says of itself without a server', () => {
    expect(JSON.parse(JSON.stringify(describedApi()))).toEqual(description);
  });

  it('is what the answers of routes that are no kind’s are held to', async () => {
    const [of, metrics] = ['virt8ra.identity/v1beta1', 'virt8ra.metrics/v1beta1'];
    const paths = [
      ...['whoami', 'tenants', 'login'].map((name) => `${of}/${name}`),
      ...['hosts', 'paths', 'hosts/none', 'tenants/default/workspaces/none/instances'].map((name) => `${metrics}/${name}`),
      ...['entries', 'tenants/default/entries', 'verification'].map((name) => `virt8ra.audit/v1beta1/${name}`),
      'virt8ra.usage/v1beta1/tenants/default/usage-records',
      'virt8ra.restore/v1beta1/differences',
    ].map((path) => `/providers/${path}`);
    const codes: number[] = [];
    for (const path of [...paths, '/healthz', '/readyz', '/.wellknown/secapi']) codes.push((await plane.call('GET', path)).status);
    expect(codes.filter((code) => code !== 200)).toEqual([404]);
  });
});

describe('the page of the description', () => {
  it('is read without a token and loads nothing from elsewhere', async () => {
    const page = await fetch(`${plane.url}/docs`);
    const html = await page.text();
    expect(page.headers.get('content-type')).toBe('text/html; charset=utf-8');
    const policy = page.headers.get('content-security-policy') ?? '';
    expect(policy).toContain("default-src 'none'");
    expect(policy).not.toMatch(/unsafe|\*|https?:/);
    const sources = [...html.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, source]) => source ?? '');
    expect(sources).toEqual(['docs/swagger-ui.css', 'openapi.json', 'docs/swagger-ui-bundle.js', 'docs/start.js']);
    expect(html).not.toMatch(/<script>|<style| style=| on\w+=/);
    for (const source of sources) {
      const file = await fetch(new URL(source, `${plane.url}/docs`));
      expect([source, file.status], source).toEqual([source, 200]);
      expect((await file.text()).length).toBeGreaterThan(100);
    }
    expect((await fetch(`${plane.url}/docs/..%2fpackage.json`)).status).toBe(404);
    expect((await fetch(`${plane.url}/docs/constructor`)).status).toBe(404);
  });
});
