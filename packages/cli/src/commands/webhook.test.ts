import { startTestControlPlane, type TestControlPlane } from '@virt8ra/client/testing';
import { type WebhookDelivery, webhook } from '@virt8ra/contract';
import { afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { buildCli, createHome, type Home } from '../testing/run-cli.js';

let plane: TestControlPlane;
let home: Home;
beforeAll(buildCli, 120_000);
beforeEach(async () => {
  plane = await startTestControlPlane();
  home = createHome(plane);
});
afterEach(async () => {
  await plane.stop();
  home.remove();
});

const hook = { tenant: 't', name: 'hook' };
const delivery = (more: Partial<WebhookDelivery>): WebhookDelivery => ({
  id: 'e-1.1',
  type: 'instance.put',
  at: new Date().toISOString(),
  attempts: 1,
  delivered: true,
  answer: 204,
  milliseconds: 7,
  ...more,
});

it('webhook prints a new secret once, says what came of a test, and what was delivered', async () => {
  plane.set(webhook, hook, { spec: { url: 'https://receiver.test/' } });
  plane.setStatus(webhook, hook, { state: 'active', deliveries: [] });
  plane.answers = {
    'webhook secret': { secret: 'whsec_abc', previousUntil: '2026-01-02T00:00:00.000Z' },
    'webhook test': { id: 'test-1' },
    'webhook redeliver': { id: 'e-1.1' },
  };
  plane.onChange = (_kind, _address, verb) => {
    if (verb === 'test')
      plane.setStatus(webhook, hook, { state: 'active', deliveries: [delivery({ id: 'test-1', type: 'webhook.test' })] });
    if (verb === 'redeliver')
      plane.setStatus(webhook, hook, {
        state: 'active',
        deliveries: [delivery({ attempts: 3, delivered: false, answer: 500, problem: 'the receiver answers 500' })],
      });
  };
  const secret = await home.run(['webhook', 'secret', 'hook', '--overlap', '0s']);
  expect(secret).toMatchObject({ code: 0, out: 'whsec_abc\n' });
  expect(await home.run(['webhook', 'test', 'hook'])).toMatchObject({ code: 0, out: 'webhook/hook delivered test-1: 204 after 7 ms\n' });
  const listed = await home.run(['webhook', 'deliveries', 'hook']);
  expect(listed.out).toMatch(/^ID.*\ntest-1 +webhook\.test .* yes +1 +204 +7 ms/);
  plane.setStatus(webhook, hook, { state: 'active', deliveries: [delivery({ attempts: 2, delivered: false })] });
  const again = await home.run(['webhook', 'redeliver', 'hook', 'e-1.1']);
  expect(again).toMatchObject({ code: 8, err: expect.stringContaining('the receiver answers 500') });
  expect(await home.run(['webhook', 'resume', 'hook', '--from', 'yesterday'])).toMatchObject({ code: 2 });
  expect(await home.run(['webhook', 'resume', 'hook'])).toMatchObject({ code: 0, out: 'webhook/hook goes on\n' });
}, 120_000);
