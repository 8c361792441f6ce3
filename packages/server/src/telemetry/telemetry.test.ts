import { describe, expect, it } from 'vitest';
import { createLog } from './log.js';
import { createMetrics } from './metrics.js';

function lines(level: 'debug' | 'info' | 'warn' | 'error' = 'debug') {
  const written: string[] = [];
  return { written, log: createLog((line) => written.push(line), level) };
}

describe('log', () => {
  it('writes one JSON line per message, from the level on', () => {
    const { written, log } = lines('info');
    log.debug('dropped');
    log.info('kept', { host: 'a' });
    expect(written.map((line) => JSON.parse(line) as object)).toMatchObject([{ level: 'info', message: 'kept', host: 'a' }]);
    expect(written[0]?.endsWith('\n')).toBe(true);
  });

  it.each([
    { title: 'a password', facts: { password: 'SECRET' } },
    { title: 'a header deep inside', facts: { request: { headers: { Authorization: 'Bearer SECRET' } } } },
    { title: 'a list of tokens', facts: { all: [{ token: 'SECRET' }] } },
    { title: 'user data', facts: { spec: { userData: 'SECRET' } } },
    { title: 'a bearer token in a text', facts: { text: 'sent Authorization: Bearer SECRET now' } },
    { title: 'a password in a URL', facts: { text: 'could not reach postgres://u:SECRET@db/x' } },
    { title: 'a password in an error', facts: { error: new Error('postgres://u:SECRET@db', { cause: new Error('Bearer SECRET') }) } },
    { title: 'a token in a problem’s facts', facts: { error: Object.assign(new Error('x'), { facts: { token: 'SECRET' } }) } },
    { title: 'a signed token', facts: { text: 'got eyJhbGciOiJub25lIn0.eyJTRUNSRVQiOjF9.SECRET' } },
    { title: 'a private key', facts: { pem: '-----BEGIN PRIVATE KEY-----\nSECRET\n-----END PRIVATE KEY-----' } },
  ])('does not write $title', ({ facts }) => {
    const { written, log } = lines();
    log.error('failed', facts);
    expect(written).toHaveLength(1);
    expect(written[0]).not.toMatch(/SECRET|eyJTRUNSRVQi/);
  });

  it('survives facts that go in circles, and shortens huge ones', () => {
    const { written, log } = lines();
    const circle: Record<string, unknown> = { text: 'x'.repeat(100_000) };
    circle['self'] = circle;
    log.info('said', circle);
    expect(written[0]?.length).toBeLessThan(50_000);
  });

  it('keeps stack and cause of an error', () => {
    const { written, log } = lines();
    log.error('failed', { error: new Error('outer', { cause: new Error('inner') }) });
    expect(JSON.parse(written[0] ?? '')).toMatchObject({
      error: { message: 'outer', stack: expect.stringContaining('telemetry.test'), cause: { message: 'inner' } },
    });
  });
});

describe('metrics', () => {
  it('tell what was counted, in Prometheus’ text format', async () => {
    const metrics = createMetrics({ version: '1.2.3' });
    metrics.engine.worked?.('instance', 'done', 0.1);
    metrics.engine.runEnded?.('migration', 'done', 12);
    metrics.gauge('virt8ra_fleet_connections', 'Agents connected.', () => 3);
    metrics.gauge('virt8ra_broken', 'Never readable.', () => {
      throw new Error('away');
    });
    await metrics.registry.metrics();
    const text = await metrics.registry.metrics();

    expect(text).toContain('virt8ra_build{version="1.2.3"} 1');
    expect(text).toContain('virt8ra_work_seconds_count{kind="instance",outcome="done"} 1');
    expect(text).toContain('virt8ra_run_seconds_count{workflow="migration",state="done"} 1');
    expect(text).toContain('virt8ra_fleet_connections 3');
    expect(text).toMatch(/virt8ra_metrics_unread_total\{name="virt8ra_broken"\} [12]/);
    expect(text).toMatch(/^virt8ra_broken NaN$/im);
    expect(text).toContain('process_resident_memory_bytes');
  });
});
