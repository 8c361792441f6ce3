import { type InstanceSpec, instance, nic } from '@virt8ra/contract';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { StoredResource } from '../../resources/stored-resource.js';
import { type KindWorld, putNetwork, putNic, putSubnet, startKindWorld, within } from '../../testing/kind-world.js';
import { createInstanceBehaviour, type InstanceStatus } from './index.js';

let world: KindWorld;
beforeAll(async () => {
  world = await startKindWorld();
  await putNetwork(world, 'lan', { ipv4: '10.0.0.0/8' });
  await putSubnet(world, 'lan', 'all', { ipv4: '10.1.0.0/24' });
}, 60_000);
afterAll(async () => await world?.stop());

type Instance = StoredResource<InstanceSpec, InstanceStatus>;

async function makeInstance(name: string): Promise<Instance> {
  const second = await putNic(world, `${name}-second`, 'networks/lan/subnets/all', ['0.0.0.0']);
  const first = await putNic(world, `${name}-first`, 'networks/lan/subnets/all', ['0.0.0.0']);
  return await world.store.transaction(async (tx) => {
    const made = await tx.put({
      kind: instance,
      address: { ...within, name },
      spec: { primaryNicRef: `nics/${name}-first`, additionalNicRefs: [`nics/${name}-second`] },
      state: 'active',
      conditions: [{ state: 'active' }],
      references: [
        { pointer: '/spec/additionalNicRefs/0', given: `nics/${name}-second`, uid: second.uid },
        { pointer: '/spec/primaryNicRef', given: `nics/${name}-first`, uid: first.uid },
      ],
    });
    return made as Instance;
  });
}

async function shown(resource: Instance): Promise<unknown> {
  const access = { ensure: async () => [], remove: async () => undefined, addressesOf: async () => new Map() };
  return await createInstanceBehaviour({ ...world.context, access }).present?.(world.store, [resource]);
}

it('an instance shows the addresses of its NICs, the primary one first', async () => {
  expect(await shown(await makeInstance('web'))).toEqual([{ addresses: ['10.1.0.3', '10.1.0.2'], access: [] }]);
});

it('an instance that was deleted while it was read is shown as far as it is still there', async () => {
  const resource = await makeInstance('gone');
  await world.vacate(resource);
  await world.remove(nic, { ...within, name: 'gone-second' });
  expect(await shown(resource)).toEqual([{ addresses: [], access: [] }]);
});
