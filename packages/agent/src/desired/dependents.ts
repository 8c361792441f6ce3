import type { DesiredInstance, DesiredState, DesiredTransfer } from '@virt8ra/contract';
import { type HostObject, objectId } from './host-object.js';

/** What a guest's process was started with and may still have, desired or not. */
export interface Launched {
  readonly key: string;
  readonly volumeKeys: readonly (string | null)[];
  readonly networkKeys: readonly string[];
}

/** `desired`: something else is wanted of the object. `seen`: it came into another state, or is gone. */
export type ChangeOf = 'desired' | 'seen';

/**
 * Which objects a pass of which reads or waits for another: all that is looked at again when one of them changed. The one place where this is
 * written; a reconciler that reads more of another object adds it here.
 *
 * | changed | is read by |
 * |---|---|
 * | network | its filters; once seen to change, instances with a NIC in it |
 * | filter | its network, whose rules it is part of; once seen to change, instances with a NIC that has it |
 * | volume | instances that have or want it (limits, start, disks); once seen to change, moves, backups and snapshots of it |
 * | instance | networks and filters of its NICs, its moves, other keys of the same instance (permits); once seen to change, its volumes, and what else wants them |
 * | transfer, backup, snapshot | its instance, its volumes, and what else has to do with those |
 */
export function dependents(state: DesiredState, launched: readonly Launched[], object: HostObject, change: ChangeOf): HostObject[] {
  const found = new Map<string, HostObject>();
  const add = (type: HostObject['type'], keys: Iterable<string>) => {
    for (const key of keys) found.set(objectId({ type, key }), { type, key });
  };
  const withVolumes = (keys: ReadonlySet<string>) => {
    const has = (key: string | null) => key !== null && keys.has(key);
    const groups = (list: DesiredState['backups']) => (list ?? []).filter(({ volumes }) => volumes.some(({ volumeKey }) => has(volumeKey)));
    add('instance', keysOf(state.instances.filter(({ volumeKeys }) => volumeKeys.some(has))));
    add('instance', keysOf(launched.filter(({ volumeKeys }) => volumeKeys.some(has))));
    if (change === 'desired') return;
    add('transfer', idsOf(state.transfers.filter(({ disks }) => disks.some(({ volumeKey }) => has(volumeKey)))));
    add('backup', keysOf(groups(state.backups)));
    add('snapshot', keysOf(groups(state.snapshots)));
  };
  const { type, key } = object;
  switch (type) {
    case 'network':
      add('filter', keysOf((state.filters ?? []).filter(({ networkKey }) => networkKey === key)));
      if (change === 'seen')
        add('instance', keysOf(state.instances.filter(({ nics }) => nics.some(({ networkKey }) => networkKey === key))));
      break;
    case 'filter': {
      add(
        'network',
        (state.filters ?? []).flatMap((filter) => (filter.key === key ? [filter.networkKey] : [])),
      );
      const holds = ({ nics }: DesiredInstance) => nics.some(({ filters }) => filters?.includes(key) === true);
      if (change === 'seen') add('instance', keysOf(state.instances.filter(holds)));
      break;
    }
    case 'volume':
      withVolumes(new Set([key]));
      break;
    case 'instance': {
      const desired = state.instances.find((instance) => instance.key === key);
      const process = launched.find((each) => each.key === key);
      add('network', [...(desired?.nics.map(({ networkKey }) => networkKey) ?? []), ...(process?.networkKeys ?? [])]);
      add('filter', desired?.nics.flatMap(({ filters }) => filters ?? []) ?? []);
      add('transfer', idsOf(state.transfers.filter((transfer) => instanceOf(transfer) === key)));
      add('instance', keysOf(state.instances.filter(({ instance }) => instance === desired?.instance)));
      if (change === 'desired') break;
      const volumeKeys = new Set([...(desired?.volumeKeys ?? []), ...(process?.volumeKeys ?? [])].filter((each) => each !== null));
      add('volume', volumeKeys);
      withVolumes(volumeKeys);
      break;
    }
    case 'transfer': {
      const transfer = state.transfers.find(({ id }) => id === key);
      const instanceKey = transfer === undefined ? undefined : instanceOf(transfer);
      if (instanceKey !== undefined) add('instance', [instanceKey]);
      const volumeKeys = new Set(transfer?.disks.map(({ volumeKey }) => volumeKey));
      add('volume', volumeKeys);
      withVolumes(volumeKeys);
      break;
    }
    case 'backup':
    case 'snapshot': {
      const list = type === 'backup' ? state.backups : state.snapshots;
      const volumeKeys = new Set(list?.find((each) => each.key === key)?.volumes.map(({ volumeKey }) => volumeKey));
      add('volume', volumeKeys);
      withVolumes(volumeKeys);
    }
  }
  found.delete(objectId(object));
  return [...found.values()];
}

function keysOf(objects: readonly { readonly key: string }[]): string[] {
  return objects.map(({ key }) => key);
}

function idsOf(transfers: readonly DesiredTransfer[]): string[] {
  return transfers.map(({ id }) => id);
}

function instanceOf(transfer: DesiredTransfer): string | undefined {
  return 'instanceKey' in transfer ? transfer.instanceKey : undefined;
}
