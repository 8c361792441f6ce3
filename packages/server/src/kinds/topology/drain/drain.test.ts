import type { DrainPlan, HostDrain } from '@virt8ra/contract';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { SimulatedAgent } from '../../../fleet/testing/simulated-agent.js';
import { type Answer, type ControlPlane, startControlPlane } from '../../../testing/control-plane.js';

const hosts = '/providers/virt8ra.topology/v1beta1/hosts';
const work = 'tenants/default/workspaces/shop';
const instances = `/providers/seca.compute/v1/${work}/instances`;
const disks = `/providers/seca.storage/v1/${work}/block-storages`;
const migrations = `/providers/virt8ra.migration/v1beta1/${work}/migrations`;

interface HostStatus {
  readonly cordoned?: boolean;
  readonly cordonReason?: string;
  readonly drain?: HostDrain;
  readonly maintenance?: { readonly value: boolean };
  readonly instances?: number;
}
interface InstanceStatus {
  readonly placement?: { readonly site: string; readonly host: string };
  readonly activity?: { readonly value: string };
  readonly conditions: readonly { readonly reason?: string; readonly message?: string }[];
}
const statusOf = <Status>(answer: Answer): Status => (answer.body as { status: Status }).status;
const drainOf = (answer: Answer): HostDrain | undefined => statusOf<HostStatus>(answer).drain;
const hasEnded = (answer: Answer): HostDrain | false => {
  const drain = drainOf(answer);
  return drain?.finishedAt === undefined ? false : drain;
};

let plane: ControlPlane;
let second: SimulatedAgent;

async function put(path: string, spec: unknown, extensions?: Record<string, string>): Promise<void> {
  const answer = await plane.call('PUT', path, { spec, ...(extensions === undefined ? {} : { extensions }) });
  expect([200, 201], JSON.stringify(answer.body)).toContain(answer.status);
}
/** An instance that runs, or is off, on the host that is the only one open. */
async function make(name: string, zone = 'any', power: 'on' | 'off' = 'on'): Promise<void> {
  await put(`${disks}/${name}`, { sizeGB: 1, skuRef: 'skus/rd100' });
  await put(
    `${instances}/${name}`,
    { zone, skuRef: 'skus/seca.xs', bootVolume: { deviceRef: `block-storages/${name}` } },
    { 'virt8ra.power': power },
  );
  const wanted = power === 'on' ? 'running' : 'stopped';
  await plane.until(`${instances}/${name}`, (answer) => statusOf<InstanceStatus>(answer).activity?.value === wanted);
}
async function hostOf(name: string): Promise<string | undefined> {
  return statusOf<InstanceStatus>(await plane.call('GET', `${instances}/${name}`)).placement?.host;
}
async function remove(...names: readonly string[]): Promise<void> {
  for (const name of names) {
    for (const path of [`${instances}/${name}`, `${disks}/${name}`]) {
      await plane.call('DELETE', path);
      await plane.until(path, ({ status }) => status === 404);
    }
  }
}
const act = async (name: string, action: string, body?: unknown): Promise<Answer> =>
  await plane.call('POST', `${hosts}/${name}/${action}`, body);
const planOf = async (name: string, body?: unknown): Promise<DrainPlan> => (await act(name, 'drain-plan', body)).body as DrainPlan;

beforeAll(async () => {
  plane = await startControlPlane();
  await plane.addSite('north');
  await put(`/providers/seca.workspace/v1/tenants/default/workspaces/shop`, {});
}, 120_000);
afterAll(async () => {
  expect(plane?.hosts.violations).toEqual([]);
  await plane?.stop();
}, 60_000);

describe('the life of a host', { timeout: 120_000 }, () => {
  it('takes nothing new while it is cordoned, and placement says why', async () => {
    expect((await act('north-1', 'cordon', { reason: 'new fans' })).status).toBe(202);
    await put(`${disks}/later`, { sizeGB: 1, skuRef: 'skus/rd100' });
    await put(`${instances}/later`, { zone: 'north', skuRef: 'skus/seca.xs', bootVolume: { deviceRef: 'block-storages/later' } });
    const message = /north\/north-1: the host is cordoned: new fans \(uncordon north-1\)/;
    await plane.until(`${instances}/later`, (answer) => message.test(statusOf<InstanceStatus>(answer).conditions[0]?.message ?? ''));
    expect((await act('north-1', 'cordon', { reason: 7 })).status).toBe(422);
    expect((await act('north-1', 'cordon', { why: 'x' })).status).toBe(422);
    await act('north-1', 'uncordon');
    expect(statusOf<HostStatus>(await plane.call('GET', `${hosts}/north-1`))).not.toHaveProperty('cordonReason');
    await remove('later');
  });

  it('says what a drain would do, and what stays by name with the reason, before and after', async () => {
    await make('alone', 'north');
    const [foreseen] = (await planOf('north-1', { mode: 'warm' })).instances;
    expect(foreseen).toMatchObject({
      instance: `seca.compute/v1/${work}/instances/alone`,
      outlook: 'stays',
      reason: 'nothing can take it: site north has no other host',
    });
    expect(drainOf(await plane.call('GET', `${hosts}/north-1`))).toBeUndefined();

    expect((await act('north-1', 'drain')).status).toBe(202);
    const end = await plane.until(`${hosts}/north-1`, hasEnded);
    expect(end).toMatchObject({ phase: 'incomplete', moved: 0, blocked: 1, moving: 0, waiting: 0 });
    expect((await planOf('north-1')).instances).toEqual([foreseen]);
    expect((await act('north-1', 'maintenance')).body).toMatchObject({
      detail: expect.stringMatching(/1 instances are still on host north-1/),
    });
    await act('north-1', 'uncordon');
    await remove('alone');
  });

  it('is emptied to another host of its site, few at a time, whatever state its instances are in', async () => {
    for (const name of ['a', 'b', 'c']) await make(name, name === 'a' ? 'north' : 'any', name === 'c' ? 'off' : 'on');
    second = await plane.addHost('north-2', 'north');
    await plane.until(`${hosts}/north-2`, (answer) => 'inventory' in statusOf<object>(answer));
    await put(`${disks}/spare`, { sizeGB: 1, skuRef: 'skus/rd100' });

    expect((await act('north-1', 'drain', { parallel: 2, reason: 'goes to another rack' })).status).toBe(202);
    expect((await act('north-1', 'drain', { parallel: 2 })).status).toBe(202);
    expect((await act('north-1', 'drain', { parallel: 1 })).status).toBe(409);
    expect((await act('north-1', 'uncordon')).body).toMatchObject({ detail: expect.stringMatching(/being drained/) });
    const end = await plane.until(`${hosts}/north-1`, hasEnded, 60_000);

    expect(end).toMatchObject({ phase: 'drained', moved: 3, moving: 0, waiting: 0, blocked: 0 });
    for (const name of ['a', 'b', 'c']) expect(await hostOf(name)).toBe('north-2');
    const { items } = (await plane.call('GET', `${migrations}?labels=virt8ra.drain=north-1`)).body as {
      items: { spec: { mode: string } }[];
    };
    expect(items.map(({ spec }) => spec.mode).toSorted()).toEqual(['cold', 'live', 'live']);
    expect(statusOf<HostStatus>(await plane.call('GET', `${hosts}/north-1`))).toMatchObject({
      cordoned: true,
      cordonReason: 'goes to another rack',
      instances: 0,
    });
  });

  it('has its agent told of maintenance, and shows that the agent knows', async () => {
    expect((await act('north-1', 'maintenance')).status).toBe(202);
    await plane.until(`${hosts}/north-1`, (answer) => statusOf<HostStatus>(answer).maintenance?.value === true);
    await act('north-1', 'uncordon');
    await plane.until(`${hosts}/north-1`, (answer) => statusOf<HostStatus>(answer).maintenance === undefined);
    expect(drainOf(await plane.call('GET', `${hosts}/north-1`))).toBeUndefined();

    const old = await plane.addHost('north-3', 'north', { features: [] });
    expect((await act('north-3', 'maintenance')).body).toMatchObject({
      code: 'unsupported',
      detail: expect.stringMatching(/update it first/),
    });
    await old.stop();
    await act('north-3', 'cordon');
  });

  it('goes on where it was when the server is started anew in the middle', async () => {
    await act('north-2', 'drain', { parallel: 1 });
    await plane.until(`${hosts}/north-2`, (answer) => (drainOf(answer)?.moved ?? 0) >= 1, 60_000);
    await plane.restart();
    const end = await plane.until(`${hosts}/north-2`, hasEnded, 90_000);
    expect(end).toMatchObject({ phase: 'drained', moved: 3 });
    for (const name of ['a', 'b', 'c']) expect(await hostOf(name)).toBe('north-1');
    await second.until('nothing is left', () => second.all('volume').length + second.all('instance').length === 0);
  });

  it('stops when it is cancelled: what is under way returns, what has moved stays', async () => {
    await act('north-2', 'uncordon');
    await act('north-1', 'drain', { parallel: 1 });
    await plane.until(
      `${hosts}/north-1`,
      (answer) => {
        const drain = drainOf(answer);
        return drain !== undefined && drain.moved >= 1 && drain.moving >= 1;
      },
      60_000,
    );
    expect((await act('north-1', 'cancel')).status).toBe(202);
    const end = await plane.until(`${hosts}/north-1`, hasEnded, 60_000);
    expect(end).toMatchObject({ phase: 'cancelled', moving: 0 });
    expect(end.moved).toBeGreaterThan(0);
    const where = await Promise.all(['a', 'b', 'c'].map(hostOf));
    expect(where.filter((each) => each === 'north-2')).toHaveLength(end.moved);
    expect((await act('north-1', 'cancel')).status).toBe(409);
    await act('north-1', 'uncordon');
  });

  it('never sends an instance elsewhere that its owner bound to the site, and asks before it stops one', async () => {
    await plane.addSite('south');
    await plane.until(`${hosts}/south-1`, (answer) => 'inventory' in statusOf<object>(answer));
    for (const name of ['north-1', 'north-2']) await act(name, 'cordon');
    const outlooks = new Map((await planOf('north-1', { mode: 'auto' })).instances.map((each) => [each.instance.split('/').at(-1), each]));
    const more = new Map((await planOf('north-2', { mode: 'auto' })).instances.map((each) => [each.instance.split('/').at(-1), each]));
    const all = new Map([...outlooks, ...more]);
    expect(all.get('a')).toMatchObject({ outlook: 'stays', reason: expect.stringMatching(/cordoned/) });
    expect(all.get('b')).toMatchObject({ outlook: 'moves', to: { site: 'south', host: 'south-1' }, mode: 'live' });
    expect(all.get('c')).toMatchObject({ outlook: 'moves', mode: 'cold' });
  });
});
