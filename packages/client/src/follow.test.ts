import { instance, Problem } from '@virt8ra/contract';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Client, createClient } from './client.js';
import { followResource } from './follow.js';
import { startTestControlPlane, type TestControlPlane } from './testing/test-control-plane.js';

let plane: TestControlPlane;
let client: Client;
beforeEach(async () => {
  plane = await startTestControlPlane();
  client = createClient({ server: plane.url, token: plane.token, awaitServer: true });
});
afterEach(() => plane.stop());

const web = { tenant: 't', workspace: 'w', name: 'web' };
const stateOf = (status: unknown) => (status as { state?: string } | undefined)?.state;

describe('following a resource', () => {
  it('tells the state now, every change, its progress and its end', async () => {
    plane.set(instance, web, {});
    const seen: unknown[] = [];
    for await (const { resource, progress } of followResource(client, instance, web, { pollSeconds: 60 })) {
      seen.push(resource === undefined ? 'gone' : (progress?.phase ?? stateOf(resource.status)));
      if (seen.length === 1) plane.setStatus(instance, web, { state: 'updating' });
      if (seen.length === 2) plane.setProgress(instance, web, { phase: 'copy', bytes: 1, totalBytes: 2, bytesPerSecond: 1, etaSeconds: 1 });
      if (seen.length === 3) plane.remove(instance, web);
      if (seen.length === 4) break;
    }
    expect(seen).toEqual(['active', 'updating', 'copy', 'gone']);
  });

  it('ignores its neighbours', async () => {
    plane.set(instance, web, {});
    let count = 0;
    for await (const { resource } of followResource(client, instance, web, { pollSeconds: 60 })) {
      count += 1;
      if (count === 1) {
        plane.set(instance, { ...web, name: 'web2' }, {});
        plane.setStatus(instance, web, { state: 'error' });
      }
      if (stateOf(resource?.status) === 'error') break;
    }
    expect(count).toBe(2);
  });

  it('polls when there is no feed', async () => {
    plane.set(instance, web, {});
    const blind: Client = { ...client, events: () => createClient({ server: plane.url, token: 'foreign' }).events({ tenant: 't' }) };
    let count = 0;
    for await (const { resource } of followResource(blind, instance, web, { pollSeconds: 0.05 })) {
      count += 1;
      if (count === 1) plane.setStatus(instance, web, { state: 'error' });
      if (stateOf(resource?.status) === 'error') break;
    }
    expect(plane.openStreams).toBe(0);
    expect(count).toBeGreaterThan(1);
  });

  it('opens the feed when the server is back', async () => {
    plane.set(instance, web, {});
    let attempts = 0;
    const unlucky: Client = {
      ...client,
      events: async (options) => {
        attempts += 1;
        if (attempts < 3) throw new Problem('unavailable', 'the server is away');
        return await client.events(options);
      },
    };
    for await (const _sighting of followResource(unlucky, instance, web)) break;
    expect(attempts).toBe(3);
  });

  it('reads again from time to time, so that an event missed only delays', async () => {
    plane.set(instance, web, {});
    const gets = () => plane.seen.filter((each) => each.method === 'GET' && each.path.endsWith('/web')).length;
    for await (const _sighting of followResource(client, instance, web, { pollSeconds: 0.05 })) if (gets() >= 3) break;
    expect(gets()).toBe(3);
  });

  it('closes its stream when the reader stops, and raises cancelled when the signal fires', async () => {
    plane.set(instance, web, {});
    const stop = new AbortController();
    const follow = async () => {
      for await (const _sighting of followResource(client, instance, web, { signal: stop.signal })) setImmediate(() => stop.abort());
    };
    await expect(follow()).rejects.toMatchObject({ kind: 'cancelled' });
    await expect.poll(() => plane.openStreams).toBe(0);
  });
});
