import { createHash, randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { SimulatedAgent } from '../../fleet/testing/simulated-agent.js';
import { type Answer, type ControlPlane, startControlPlane } from '../../testing/control-plane.js';

const tenant = 'tenants/default';
const workspace = `${tenant}/workspaces/shop`;
const instances = `/providers/seca.compute/v1/${workspace}/instances`;
const disks = `/providers/seca.storage/v1/${workspace}/block-storages`;
const images = `/providers/seca.storage/v1/${tenant}/images`;
const imports = `/providers/virt8ra.image/v1beta1/${tenant}/image-imports`;
const migrations = `/providers/virt8ra.migration/v1beta1/${workspace}/migrations`;
const backups = `/providers/virt8ra.backup/v1beta1/${workspace}/backups`;
const snapshots = `/providers/virt8ra.backup/v1beta1/${workspace}/snapshots`;

interface Status {
  readonly state?: string;
  readonly rescue?: { readonly phase: string; readonly imageRef: { readonly resource: string } };
  readonly activity?: { readonly value: string };
  readonly conditions: readonly { readonly type?: string; readonly reason?: string }[];
}
const statusOf = ({ body }: Answer): Status => (body as { status: Status }).status;

describe('an instance in rescue', { timeout: 60_000 }, () => {
  let plane: ControlPlane;
  let agent: SimulatedAgent;
  const put = async (path: string, spec: unknown, extensions?: Record<string, string>): Promise<void> => {
    const answer = await plane.call('PUT', path, { spec, ...(extensions === undefined ? {} : { extensions }) });
    expect([200, 201], JSON.stringify(answer.body)).toContain(answer.status);
  };
  const act = async (name: string, action: string, body?: unknown): Promise<Answer> =>
    await plane.call('POST', `${instances}/${name}/${action}`, body);
  const until = async (name: string, accept: (status: Status) => boolean): Promise<Status> =>
    await plane.until(`${instances}/${name}`, (answer) =>
      answer.status === 200 && accept(statusOf(answer)) ? statusOf(answer) : undefined,
    );

  beforeAll(async () => {
    plane = await startControlPlane();
    agent = await plane.addSite('here');
    await plane.addHost('here-2', 'here');
    await put(`/providers/seca.workspace/v1/${workspace}`, {});
    for (const name of ['base', 'tools']) {
      const content = randomBytes(64 * 1024);
      const upload = { sizeBytes: content.length, sha256: createHash('sha256').update(content).digest('hex') };
      await put(`${imports}/${name}`, { source: { upload }, cpuArchitecture: 'amd64', boot: 'BIOS', format: 'raw' });
      await plane.upload(`${imports}/${name}/content`, content);
      await plane.until(`${images}/${name}`, (answer) => answer.status === 200 && statusOf(answer).state === 'active');
    }
    for (const name of ['guest', 'blank']) {
      await put(`${disks}/${name}`, { sizeGB: 1, skuRef: 'skus/rd100', ...(name === 'guest' ? { sourceImageRef: 'images/base' } : {}) });
      await put(
        `${instances}/${name}`,
        { zone: 'here', skuRef: 'skus/seca.xs', bootVolume: { deviceRef: `block-storages/${name}` } },
        { 'virt8ra.power': 'on' },
      );
      await until(name, ({ activity }) => activity?.value === 'running');
    }
  }, 120_000);
  afterAll(async () => {
    expect(plane?.hosts.violations).toEqual([]);
    await plane?.stop();
  }, 60_000);

  it('runs from the image until that is ended, is neither moved nor copied meanwhile, and leaves nothing behind', async () => {
    const volumesOf = () => agent.all('volume').length;
    const volumes = volumesOf();
    expect((await act('guest', 'end-rescue')).status).toBe(409);
    expect((await act('guest', 'rescue', { imageRef: 'images/tools' })).status).toBe(202);
    expect(statusOf(await plane.call('GET', `${instances}/guest`)).rescue).toMatchObject({
      imageRef: { resource: expect.stringMatching(/images\/tools$/) },
    });
    const running = await until('guest', ({ rescue, activity }) => rescue?.phase === 'running' && activity?.value === 'running');
    expect(running.conditions.slice(0, 4).map(({ reason }) => reason)).toContain('Starting');
    expect(agent.all('instance').filter(({ rescue }) => rescue !== undefined)).toHaveLength(1);

    const inRescue = { status: 409, body: { detail: 'instance guest is in rescue; end that first: virt8ra rescue guest --end' } };
    const instanceRef = 'instances/guest';
    expect(
      await plane.call('PUT', `${migrations}/m`, { spec: { instanceRef, toSite: 'here', toHost: 'here-2', mode: 'warm' } }),
    ).toMatchObject(inRescue);
    expect(await plane.call('PUT', `${backups}/b`, { spec: { instanceRef } })).toMatchObject(inRescue);
    expect(await plane.call('PUT', `${snapshots}/s`, { spec: { instanceRef } })).toMatchObject(inRescue);
    expect((await act('guest', 'rescue')).status).toBe(409);
    const { body } = await plane.call('POST', '/providers/virt8ra.topology/v1beta1/hosts/here-1/drain-plan', {});
    expect(JSON.stringify(body)).toContain('it is in rescue');

    expect((await act('guest', 'stop')).status).toBe(202);
    await until('guest', ({ activity }) => activity?.value === 'stopped');
    expect((await act('guest', 'start')).status).toBe(202);
    await until('guest', ({ rescue, activity }) => rescue?.phase === 'running' && activity?.value === 'running');

    expect((await act('guest', 'end-rescue')).status).toBe(202);
    expect((await act('guest', 'end-rescue')).status).toBeOneOf([202, 409]);
    await until('guest', ({ rescue, activity }) => rescue === undefined && activity?.value === 'running');
    expect(volumesOf()).toBe(volumes);
    expect(agent.all('instance').filter(({ rescue }) => rescue !== undefined)).toHaveLength(0);
  });

  it('boots from the image of its boot volume when none is named; one without must be named, and be one that boots', async () => {
    const [volumes, guests] = [agent.all('volume').length, agent.all('instance').length];
    expect((await act('blank', 'rescue')).body).toMatchObject({ sources: [{ pointer: '/imageRef' }] });
    expect((await act('blank', 'rescue', { imageRef: 'images/none' })).status).toBe(422);
    expect((await act('blank', 'rescue', { image: 'images/base' })).status).toBe(422);
    expect((await act('guest', 'rescue')).status).toBe(202);
    const { rescue } = await until('guest', (status) => status.rescue?.phase === 'running');
    expect(rescue?.imageRef.resource).toMatch(/images\/base$/);

    await plane.call('DELETE', `${instances}/guest`);
    await plane.until(`${instances}/guest`, ({ status }) => status === 404);
    await plane.call('DELETE', `${disks}/guest`);
    await plane.until(`${disks}/guest`, ({ status }) => status === 404);
    await agent.until(
      'nothing of it is left',
      () => agent.all('volume').length === volumes - 1 && agent.all('instance').length === guests - 1,
    );
  });
});
