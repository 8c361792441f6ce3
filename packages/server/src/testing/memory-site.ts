import { Problem } from '@virt8ra/contract';
import type {
  BlockStorageRealizationSpec,
  BlockStorageRealizationStatus,
  Capabilities,
  Connection,
  Facet,
  Handle,
  NetworkRealizationSpec,
  NetworkRealizationStatus,
  SecurityGroupRealizationSpec,
  SecurityGroupRealizationStatus,
} from '@virt8ra/driver';
import type { SiteConnections } from '../accounts/site-connections.js';

/** A site in memory whose objects are there at once, that can be cut off and can lose a reply. */
export interface MemorySite {
  readonly sites: SiteConnections;
  readonly networks: ReadonlyMap<string, NetworkRealizationSpec>;
  readonly blockStorages: ReadonlyMap<string, BlockStorageRealizationSpec>;
  readonly securityGroups: ReadonlyMap<string, SecurityGroupRealizationSpec>;
  /** How often anything was created, updated or removed there. */
  readonly changes: number;
  reachable: boolean;
  /** The next create is done and its reply lost. */
  loseReply: boolean;
}

const capabilities: Capabilities = {
  settleSeconds: 0,
  maxVolumesPerInstance: 8,
  maxNicsPerInstance: 8,
  firmwares: ['BIOS'],
  migrationModes: ['cold'],
  enforcesPermits: true,
};

export function createMemorySite(): MemorySite {
  const networks = new Map<string, NetworkRealizationSpec>();
  const blockStorages = new Map<string, BlockStorageRealizationSpec>();
  const securityGroups = new Map<string, SecurityGroupRealizationSpec>();
  let changes = 0;
  const connection: Connection = {
    networks: facet<NetworkRealizationSpec, NetworkRealizationStatus>(networks, () => ({ state: 'ready', reach: 'island' })),
    blockStorages: facet<BlockStorageRealizationSpec, BlockStorageRealizationStatus>(blockStorages, ({ sizeBytes }) => ({
      state: 'ready',
      sizeBytes,
    })),
    securityGroups: facet<SecurityGroupRealizationSpec, SecurityGroupRealizationStatus>(securityGroups, () => ({ state: 'ready' })),
    capabilities,
    probe: async () => ({ healthy: true }),
    close: async () => undefined,
  };
  const site: MemorySite = {
    sites: { connectionOf: async () => connection, close: async () => undefined },
    networks,
    blockStorages,
    securityGroups,
    get changes() {
      return changes;
    },
    reachable: true,
    loseReply: false,
  };

  function facet<Spec, Status>(objects: Map<string, Spec>, statusOf: (spec: Spec) => Status): Facet<Spec, Status> {
    const call = (): void => {
      if (!site.reachable) throw new Problem('unavailable', 'the site does not answer');
    };
    const handleOf = (key: string): Handle => ({ driver: 'memory', version: 1, value: key });
    return {
      async create(spec, key) {
        call();
        changes += 1;
        objects.set(key, spec);
        if (site.loseReply) {
          site.loseReply = false;
          throw new Problem('unknown-outcome', 'the reply was lost');
        }
        return handleOf(key);
      },
      async find(key) {
        call();
        return objects.has(key) ? handleOf(key) : undefined;
      },
      async observe({ value }) {
        const source = 'memory';
        const at = new Date().toISOString();
        if (!site.reachable) return { type: 'unknown', reason: 'the site does not answer', source };
        const spec = objects.get(value);
        return spec === undefined ? { type: 'absent', at, source } : { type: 'present', at, source, status: statusOf(spec) };
      },
      async update({ value }, spec) {
        call();
        if (!objects.has(value)) throw new Problem('not-found', 'there is nothing to update');
        if (JSON.stringify(objects.get(value)) === JSON.stringify(spec)) return;
        changes += 1;
        objects.set(value, spec);
      },
      async remove({ value }) {
        call();
        if (objects.delete(value)) changes += 1;
      },
      async *list() {
        call();
        for (const key of objects.keys()) yield { handle: handleOf(key), key };
      },
    };
  }
  return site;
}
