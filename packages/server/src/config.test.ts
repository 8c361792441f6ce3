import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { parseConfig, printableConfig } from './config.js';
import { configOptions, configurationTable, helpText } from './config-options.js';

const folder = mkdtempSync(join(tmpdir(), 'virt8ra-config-'));
afterAll(() => rmSync(folder, { recursive: true }));
const file = (content: unknown): string => {
  const path = join(folder, 'config.json');
  writeFileSync(path, typeof content === 'string' ? content : JSON.stringify(content));
  return path;
};

describe('configuration', () => {
  it('has a default for everything', () => {
    expect(parseConfig([], {}, 0)).toMatchObject({
      stateDirectory: '/var/lib/virt8ra',
      region: 'virt8ra',
      tenants: ['default'],
      api: { listen: { host: '127.0.0.1', port: 8480 }, tls: undefined },
      agents: { listen: { host: '127.0.0.1', port: 8481 } },
      artifacts: { directory: '/var/lib/virt8ra/artifacts', maxImageBytes: 1e11 },
      imports: { allowPrivate: false, allow: [] },
      outbound: { proxies: {}, proxyResolves: false },
      webhooks: { allow: [], allowHttp: false },
    });
    expect(parseConfig([], { HOME: '/home/u' }, 1000).stateDirectory).toBe('/home/u/.local/state/virt8ra');
    expect(parseConfig([], { HOME: '/home/u', XDG_STATE_HOME: '/s' }, 1000).stateDirectory).toBe('/s/virt8ra');
  });

  it('takes a flag before a variable before the file', () => {
    const path = file({ region: 'file', tenants: ['file'], api: { listen: '127.0.0.1:1' } });
    const config = parseConfig(['--config', path, '--region=flag'], { VIRT8RA_REGION: 'variable', VIRT8RA_TENANTS: 'a, b' }, 0);

    expect(config).toMatchObject({ region: 'flag', tenants: ['a', 'b'], api: { listen: { port: 1 } } });
    expect(parseConfig([], { VIRT8RA_CONFIG: path }, 0).region).toBe('file');
  });

  it.each<{ title: string; argv?: string[]; environment?: Record<string, string>; content?: unknown; source?: object; text: string }>([
    { title: 'an unknown flag', argv: ['--colour', 'red'], source: { parameter: '--colour' }, text: 'no option' },
    { title: 'a flag without value', argv: ['--region'], source: { parameter: '--region' }, text: 'needs a value' },
    {
      title: 'an unknown member of the file',
      content: { api: { listn: 'x' } },
      source: { pointer: '/api/listn' },
      text: 'no known option',
    },
    { title: 'a file that is no JSON', content: '{', text: 'is not JSON' },
    {
      title: 'a wrong type in the file',
      content: { database: { connections: '9' } },
      source: { pointer: '/database/connections' },
      text: 'whole number from 4 to 1000',
    },
    {
      title: 'a number out of range',
      environment: { VIRT8RA_DATABASE_CONNECTIONS: '1' },
      source: { parameter: 'VIRT8RA_DATABASE_CONNECTIONS' },
      text: 'from 4',
    },
    {
      title: 'a word out of a list',
      argv: ['--log-level', 'loud'],
      source: { parameter: '--log-level' },
      text: 'debug, info, warn, error',
    },
    { title: 'no address', argv: ['--api-listen', '8480'], source: { parameter: '--api-listen' }, text: 'HOST:PORT' },
    {
      title: 'an open API without TLS',
      argv: ['--api-listen', '0.0.0.0:8480'],
      source: { parameter: '--api-listen' },
      text: 'in the clear',
    },
    { title: 'half of TLS', argv: ['--api-tls-key', 'k.pem'], text: 'go together' },
    { title: 'a bad range of ports', argv: ['--access-ports', '9-1'], source: { parameter: '--access-ports' }, text: 'range' },
    { title: 'no tenants', content: { tenants: [] }, source: { pointer: '/tenants' }, text: 'at least one' },
    { title: 'a tenant that is no name', argv: ['--tenants', 'A B'], source: { parameter: '--tenants' }, text: 'lower-case' },
    {
      title: 'agents by plain HTTP',
      argv: ['--agents-public-url', 'http://x'],
      source: { parameter: '--agents-public-url' },
      text: 'https://',
    },
    {
      title: 'a CIDR that is none',
      argv: ['--imports-allow', 'everything'],
      source: { parameter: '--imports-allow' },
      text: 'no address range',
    },
  ])('refuses $title and says where', ({ argv = [], environment = {}, content, source, text }) => {
    const flags = content === undefined ? argv : ['--config', file(content), ...argv];
    let thrown: unknown;
    try {
      parseConfig(flags, environment, 0);
    } catch (error) {
      thrown = error;
    }
    expect(thrown).toMatchObject({
      kind: 'validation',
      message: expect.stringContaining(text),
      ...(source === undefined ? {} : { sources: [source] }),
    });
  });

  it('opens the API to others with TLS', () => {
    const config = parseConfig(['--api-listen', '[::]:443', '--api-tls-certificate', 'c.pem', '--api-tls-key', 'k.pem'], {}, 0);
    expect(config.api).toMatchObject({ listen: { host: '::', port: 443 }, tls: { certificate: 'c.pem', key: 'k.pem' } });
  });

  it('never prints the password of the database, not even in an error', () => {
    const url = 'postgres://u:s3cret@db/x?password=s3cret';
    expect(JSON.stringify(printableConfig(parseConfig([], { DATABASE_URL: url }, 0)))).not.toContain('s3cret');
    expect(() => parseConfig(['--database-url', 'mysql://u:s3cret@db'], {}, 0)).toThrow(/^(?!.*s3cret)/);
  });

  it('names every option in the help and in the documentation', () => {
    for (const option of configOptions) expect(helpText).toContain(`--${option.flag} `);
    const page = readFileSync(new URL('../../../docs/operating/configuration.md', import.meta.url), 'utf8');
    expect(page).toContain(configurationTable());
  });
});
