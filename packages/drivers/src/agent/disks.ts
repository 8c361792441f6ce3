import {
  type AgentFeature,
  agentDnsName,
  type DesiredTransfer,
  type ObservedTransfer,
  Problem,
  type TransferSeed,
} from '@virt8ra/contract';
import type { DisksFacet, Handle, Seed, TransferStatus } from '@virt8ra/driver';
import { handleFromObject, objectFromHandle } from './handle.js';
import { instanceFromSpec } from './instances.js';
import { troubleOf } from './networks.js';
import { keyOnHost, requireHost, type SiteFleet } from './object-facet.js';
import { observationFromView, type Reader } from './observation.js';

const reader: Reader<'transfer', TransferStatus> = {
  awaited: () => ({ state: 'preparing', passes: 0, bytes: 0, resentBytes: 0, chunkBytes: 0, streams: 0 }),
  read: (observed, desired) => ({
    status: statusFromObserved(observed),
    changing: !isSettled(observed.state, desired),
    ...troubleOf(observed.state === 'failed', observed.problem),
  }),
};

/** One end of a transfer, declared on the host that has or gets the disks. */
export function createDisksFacet({ fleet, site, assertOpen }: SiteFleet): DisksFacet {
  const assertProbes = async (host: string): Promise<ReadonlySet<AgentFeature>> => {
    const features = await fleet.features(site, host);
    if (!features.has('boot-probe'))
      throw new Problem(
        'unsupported',
        `the agent of host ${host} is of an older release and cannot boot a copy in isolation; bring it up to date`,
      );
    return features;
  };
  const declare = async (host: string, desired: DesiredTransfer): Promise<Handle> => {
    await fleet.declare(site, { host, type: 'transfer', key: desired.id, desired }, 'replace');
    return handleFromObject({ host, type: 'transfer', key: desired.id });
  };
  const disksOn = (host: string, disks: readonly { readonly volume: Handle; readonly sizeBytes: number }[]) =>
    disks.map(({ volume, sizeBytes }) => ({ volumeKey: keyOnHost(volume, 'volume', host), sizeBytes }));
  return {
    async send(spec, key) {
      assertOpen();
      const host = requireHost(spec.host);
      const { mode, peer, minPasses, goal, epoch, arrived, hold } = spec;
      if (hold === true) await assertProbes(host);
      const instanceKey = keyOnHost(spec.instance, 'instance', host);
      if (mode === 'live') {
        const common = { id: key, role: 'send', mode, instanceKey, disks: disksOn(host, spec.disks), peer, goal, epoch } as const;
        return await declare(host, arrived === undefined ? common : { ...common, arrived });
      }
      return await declare(host, {
        id: key,
        role: 'send',
        mode,
        instanceKey,
        disks: disksOn(host, spec.disks),
        peer,
        minPasses,
        goal,
        epoch,
        ...(hold === true ? { hold } : {}),
      });
    },
    async receive(spec, key) {
      assertOpen();
      const host = requireHost(spec.host);
      const { peerName, goal, prepare, probe } = spec;
      if (spec.instance !== undefined) {
        const instanceKey = keyOnHost(spec.instance, 'instance', host);
        return await declare(host, {
          id: key,
          role: 'receive',
          mode: 'live',
          instanceKey,
          disks: disksOn(host, spec.disks),
          peerName,
          goal,
        });
      }
      const takesSeeds = (await fleet.features(site, host)).has('seeds');
      const disks = disksOn(host, spec.disks).map((disk, index) => {
        const wanted = takesSeeds ? spec.disks[index]?.seed : undefined;
        const seed = wanted === undefined ? undefined : seedOn(host, wanted);
        return seed === undefined ? disk : { ...disk, seed };
      });
      const common = {
        id: key,
        role: 'receive',
        disks,
        peerName,
        goal,
        ...(prepare === undefined ? {} : { prepare }),
      } as const;
      if (probe === undefined) return await declare(host, common);
      const features = await assertProbes(host);
      const { request, timeoutSeconds, expects, instanceKey } = probe;
      const instance = instanceFromSpec(probe.instance, { key: instanceKey, host, features });
      return await declare(host, { ...common, probe: { request, timeoutSeconds, expects, instance } });
    },
    async find(key, host) {
      assertOpen();
      const found = await fleet.find(site, 'transfer', key, host);
      return found === undefined ? undefined : handleFromObject(found);
    },
    async observe(handle) {
      assertOpen();
      const object = objectFromHandle(handle, 'transfer');
      return observationFromView(object, await fleet.look(site, object), reader);
    },
    async remove(handle) {
      assertOpen();
      await fleet.withdraw(site, objectFromHandle(handle, 'transfer'));
    },
    peerName: agentDnsName,
  };
}

/** Undefined for a disk that is on another host. */
function seedOn(host: string, seed: Seed): TransferSeed | undefined {
  if ('image' in seed) return seed.image;
  const object = objectFromHandle(seed.volume, 'volume');
  return object.host === host ? { volumeKey: object.key } : undefined;
}

function statusFromObserved(observed: ObservedTransfer): TransferStatus {
  const {
    state,
    address,
    port,
    passes,
    bytes,
    resentBytes,
    chunkBytes,
    streams,
    pauseMs,
    pausedAt,
    seeds,
    roots,
    prepared,
    recentPasses,
    held,
    probe,
  } = observed;
  return {
    state,
    ...(address === undefined ? {} : { address }),
    ...(port === undefined ? {} : { port }),
    passes,
    bytes,
    resentBytes,
    chunkBytes,
    streams,
    ...(pauseMs === undefined ? {} : { pauseMs }),
    ...(pausedAt === undefined ? {} : { pausedAt }),
    ...(seeds === undefined ? {} : { seeds }),
    ...(roots === undefined ? {} : { roots }),
    ...(prepared === undefined ? {} : { prepared }),
    ...(recentPasses === undefined ? {} : { recentPasses }),
    ...(held === undefined ? {} : { held }),
    ...(probe === undefined ? {} : { probe }),
  };
}

/** States that only a new goal or the other end changes. */
function isSettled(state: ObservedTransfer['state'], desired: DesiredTransfer | undefined): boolean {
  switch (state) {
    case 'finished':
    case 'aborted':
    case 'failed':
      return true;
    case 'converged':
      return desired?.goal === 'copy';
    case 'listening':
      return desired?.goal === 'receive';
    case 'preparing':
    case 'copying':
    case 'finishing':
    case 'aborting':
      return false;
  }
}
