import { Problem } from '@virt8ra/contract';
import type { Capabilities, Connection } from '../driver.js';
import type { NetworkRealizationSpec, NetworkRealizationStatus, NetworksFacet } from '../facets/networks.js';
import type { Handle } from '../observation.js';
import type { ConformanceWorld } from './world.js';
import { facetCase } from './world.js';

/** Mistakes that drivers make, for the suite's own tests. */
export type PlantedBug =
  | 'key ignored'
  | 'key ignored at once'
  | 'complaining remove'
  | 'timeout reported as absent'
  | 'find denies during an outage'
  | 'lost list entries'
  | 'listed twice'
  | 'lost reply looks final'
  | 'asked time instead of seen time'
  | 'removal taken for done'
  | 'created before refused'
  | 'update creates anew'
  | 'foreign handles taken'
  | 'secret in an error'
  | 'handles of one connection only'
  | 'silent after close'
  | 'probe raises'
  | 'never present'
  | 'negative settle time'
  | 'one object for all keys'
  | 'find answers another handle'
  | 'find invents objects'
  | 'update brings back'
  | 'find remembers what is gone'
  | 'paged by offset'
  | 'seen in the future';

interface MemoryObject {
  readonly id: string;
  readonly key: string;
  spec: NetworkRealizationSpec;
  seenAt: string;
}

const secret = 'pass-word-of-the-account';

/** A provider in memory with networks only, and a driver for it that keeps every rule, or all but one. */
export function createMemoryWorld(bug?: PlantedBug): ConformanceWorld {
  const objects = new Map<string, MemoryObject>();
  const gone: MemoryObject[] = [];
  let reachable = true;
  let loseReply = false;
  let count = 0;

  const call = (): void => {
    if (!reachable)
      throw new Problem('unavailable', bug === 'secret in an error' ? `no answer to ${secret}` : 'the provider does not answer');
  };
  const byKey = (key: string): MemoryObject | undefined => [...objects.values()].find((object) => object.key === key);
  const add = (spec: NetworkRealizationSpec, key: string): MemoryObject => {
    count += 1;
    const object = { id: `net-${count}`, key, spec, seenAt: new Date().toISOString() };
    objects.set(object.id, object);
    return object;
  };

  const later = (): string => {
    count += 1;
    return new Date(Date.now() + count).toISOString();
  };

  const connect = (): Connection => {
    let closed = false;
    const own = new Set<string>();
    const open = (): void => {
      if (closed && bug !== 'silent after close') throw new Problem('cancelled', 'the connection is closed');
    };
    const handleOf = ({ id }: MemoryObject): Handle => {
      own.add(id);
      return { driver: 'memory', version: 1, value: id };
    };
    const idOf = (handle: Handle): string => {
      if (bug === 'foreign handles taken') return handle.value;
      if (handle.driver !== 'memory' || handle.version !== 1 || !handle.value.startsWith('net-'))
        throw new Problem('internal', 'a handle of someone else');
      if (bug === 'handles of one connection only' && !own.has(handle.value)) throw new Problem('internal', 'never seen that handle');
      return handle.value;
    };
    const networks: NetworksFacet = {
      async create(spec, key) {
        open();
        call();
        if (bug === 'created before refused') add(spec, key);
        if (spec.mtu > 9000) throw new Problem('unsupported', 'the mtu is too large');
        if (bug === 'one object for all keys') return handleOf([...objects.values()][0] ?? add(spec, key));
        if (bug === 'key ignored') return handleOf(add(spec, key));
        // Looking and adding with a pause between them is the classic mistake.
        const existing = byKey(key);
        if (bug === 'key ignored at once') await Promise.resolve();
        const object = existing ?? add(spec, key);
        if (loseReply) {
          loseReply = false;
          throw new Problem(bug === 'lost reply looks final' ? 'invalid-request' : 'unknown-outcome', 'the reply was lost');
        }
        return handleOf(object);
      },
      async find(key) {
        open();
        if (bug === 'find denies during an outage' && !reachable) return undefined;
        call();
        if (bug === 'find invents objects') return { driver: 'memory', version: 1, value: 'net-0' };
        const object = byKey(key) ?? (bug === 'find remembers what is gone' ? gone.find((old) => old.key === key) : undefined);
        if (object === undefined) return undefined;
        return bug === 'find answers another handle' ? { ...handleOf(object), value: `${object.id}-copy` } : handleOf(object);
      },
      async observe(handle) {
        open();
        const id = idOf(handle);
        const object = objects.get(id);
        const source = 'memory';
        const now = new Date().toISOString();
        if (!reachable) {
          if (bug === 'timeout reported as absent') return { type: 'absent', at: now, source };
          if (bug === 'removal taken for done' && object === undefined) return { type: 'absent', at: now, source };
          const at = bug === 'asked time instead of seen time' ? later() : object?.seenAt;
          const lastSeen = object === undefined || at === undefined ? {} : { lastSeen: { at, status: statusOf() } };
          return { type: 'unknown', reason: 'the provider does not answer', source, ...lastSeen };
        }
        if (object === undefined) return { type: 'absent', at: now, source };
        object.seenAt = bug === 'seen in the future' ? new Date(Date.now() + 3_600_000).toISOString() : now;
        if (bug === 'never present') return { type: 'changing', at: now, source, status: statusOf(), retryAfterSeconds: 1 };
        return { type: 'present', at: object.seenAt, source, status: statusOf() };
      },
      async update(handle, spec) {
        open();
        call();
        const object = objects.get(idOf(handle));
        if (spec.mtu > 9000) throw new Problem('unsupported', 'the mtu is too large');
        if (object === undefined && bug === 'update brings back')
          objects.set(handle.value, { id: handle.value, key: 'back', spec, seenAt: '' });
        if (object === undefined) throw new Problem('not-found', 'there is no such network');
        if (bug === 'update creates anew') add(spec, object.key);
        else object.spec = spec;
      },
      async remove(handle) {
        open();
        const id = idOf(handle);
        if (bug === 'removal taken for done') objects.delete(id);
        call();
        gone.push(...[objects.get(id)].filter((object) => object !== undefined));
        if (!objects.delete(id) && bug === 'complaining remove') throw new Problem('not-found', 'there is no such network');
      },
      async *list() {
        open();
        call();
        if (bug === 'paged by offset') {
          // The newest come first, so that what is added meanwhile moves the rest to the next page.
          for (let offset = 0; offset < objects.size; offset += 2) {
            const page = [...objects.values()].reverse().slice(offset, offset + 2);
            for (const object of page) yield { handle: handleOf(object), key: object.key };
            await new Promise<void>((resolve) => setTimeout(resolve, 1));
          }
          return;
        }
        const all = [...objects.values()];
        for (const [index, object] of all.entries()) {
          // A page of three whose last entry falls between two pages.
          if (bug === 'lost list entries' && index % 3 === 2) continue;
          yield { handle: handleOf(object), key: object.key };
          if (bug === 'listed twice' && index % 3 === 2) yield { handle: handleOf(object), key: object.key };
        }
      },
    };
    return {
      networks,
      capabilities: bug === 'negative settle time' ? { ...capabilities, settleSeconds: -1 } : capabilities,
      async probe() {
        open();
        if (bug === 'probe raises') call();
        return reachable ? { healthy: true } : { healthy: false, reason: 'the provider does not answer' };
      },
      async close() {
        closed = true;
      },
    };
  };

  return {
    connection: connect(),
    reconnect: async () => connect(),
    cases: [
      facetCase<NetworkRealizationSpec, NetworkRealizationStatus>({
        facet: 'networks',
        open: (connection) => connection.networks,
        spec: { vni: 7, mtu: 1400, gateways: ['10.0.0.1/24'] },
        changed: { vni: 7, mtu: 1400, gateways: ['10.0.0.1/24', '10.0.1.1/24'] },
        refused: [{ title: 'an absurd mtu', spec: { vni: 7, mtu: 100_000, gateways: [] } }],
      }),
    ],
    async cutOff() {
      reachable = false;
    },
    async restore() {
      reachable = true;
    },
    loseNextReply() {
      loseReply = true;
    },
    secrets: [secret],
    patienceSeconds: 0.2,
    async close() {
      objects.clear();
    },
  };
}

const capabilities: Capabilities = {
  settleSeconds: 0,
  maxVolumesPerInstance: 0,
  maxNicsPerInstance: 0,
  firmwares: [],
  migrationModes: [],
  enforcesPermits: false,
};

function statusOf(): NetworkRealizationStatus {
  return { state: 'ready', reach: 'island' };
}
