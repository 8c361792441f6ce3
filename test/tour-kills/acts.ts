import { type Client, rest } from '@virt8ra/client';
import { instance, migration, Problem } from '@virt8ra/contract';
import { fullDisk, guestDisk, importImage } from '../../demo/images.js';
import { reasonOf, settled } from '../../demo/settled.js';
import { deleteGuest, describeGuest, guest, images, tenant } from '../../demo/world.js';
import type { Plane, Victim } from './plane.js';

/** What is done to the plane while something is killed. */
export interface Act {
  readonly name: string;
  /** How long it takes when nothing is killed, roughly: the kill comes within that, or within a phase of a move. */
  readonly usualMs: number;
  readonly move: boolean;
  /** A move whose copy is booted in isolation, and that cuts over when it is asked to. */
  readonly asks?: true;
  readonly victims: readonly Victim[];
  /** Whether the guest runs afterwards. */
  readonly leavesGuest: boolean;
  perform(tools: ActTools): Promise<void>;
}

export interface ActTools {
  readonly plane: Plane;
  readonly signal: AbortSignal;
  /** Told of every phase of a move. */
  onPhase(phase: string): void;
}

/** Of the data disk: enough that something can happen to a copy. */
const dataBytes = 48 * 1024 * 1024;
const overPhases: ReadonlySet<string> = new Set(['done', 'failed', 'returned']);
const withinSeconds = 90;
/** What is there during the whole tour. */
export const always: readonly Victim[] = ['server', 'database', 'source-agent', 'target-agent'];
const moving: readonly Victim[] = [...always, 'mover', 'mover', 'image-server'];

/** The tour, in order. Every act may be repeated until it is through, whatever was lost of the answers. */
export const acts: readonly Act[] = [
  {
    name: 'import',
    usualMs: 900,
    move: false,
    victims: always,
    leavesGuest: false,
    async perform({ plane, signal }) {
      const [system, data] = await Promise.all([guestDisk(plane.root), fullDisk(dataBytes)]);
      await Promise.all([
        importImage(plane.client, tenant, images.system, system, { signal, withinSeconds }),
        importImage(plane.client, tenant, images.data, data, { signal, withinSeconds }),
      ]);
    },
  },
  {
    name: 'deploy',
    usualMs: 4_500,
    move: false,
    victims: always,
    leavesGuest: true,
    async perform({ plane, signal }) {
      await describeGuest(plane.client);
      await activityIs(plane.client, 'running', signal);
    },
  },
  {
    name: 'stop and start',
    usualMs: 2_500,
    move: false,
    victims: always,
    leavesGuest: true,
    async perform({ plane, signal }) {
      await insist(plane.client, 'stop', signal);
      await activityIs(plane.client, 'stopped', signal);
      await insist(plane.client, 'start', signal);
      await activityIs(plane.client, 'running', signal);
    },
  },
  moveAct('warm move', 'warm'),
  moveAct('cold move', 'cold'),
  moveAct('asked move', 'warm', true),
  {
    name: 'delete',
    usualMs: 2_000,
    move: false,
    victims: always,
    leavesGuest: false,
    perform: async ({ plane, signal }) => await deleteGuest(plane.client, { signal, withinSeconds }),
  },
];

/** Where the guest is placed; undefined while it is nowhere. */
export async function placeOf(client: Client, signal: AbortSignal): Promise<string | undefined> {
  return (await client.find(instance, guest, signal))?.status?.placement?.site;
}

function moveAct(name: string, mode: 'warm' | 'cold', asks?: true): Act {
  return {
    name,
    usualMs: 8_000,
    move: true,
    ...(asks === undefined ? {} : { asks }),
    victims: moving,
    leavesGuest: true,
    async perform({ plane, signal, onPhase }) {
      const { client } = plane;
      const from = await placeOf(client, signal);
      const to = plane.sites.find((site) => site.name !== from)?.name ?? '';
      const address = { ...guest, name: name.replaceAll(' ', '-') };
      const asked = asks === undefined ? {} : ({ cutover: { when: 'asked' }, bootProbe: { in: 'isolation' } } as const);
      await client.put(migration, address, { spec: { instanceRef: `instances/${guest.name}`, toSite: to, mode, ...asked } });
      for (;;) {
        const { status } = await client.get(migration, address, signal);
        const phase = status?.phase ?? 'plan';
        onPhase(phase);
        if (phase === 'waiting' && status?.cutover?.askedAt === undefined) await askCutover(client, address, signal);
        if (overPhases.has(phase)) {
          const placed = await placeOf(client, signal);
          const expected = phase === 'done' ? to : from;
          if (placed !== expected) throw new Error(`the move is ${phase}, and the guest is at ${placed}, not at ${expected}`);
          const unequal = (status?.digests ?? []).filter(({ equal }) => !equal);
          if (phase === 'failed' || unequal.length > 0) throw new Error(`${reasonOf(status)} ${JSON.stringify(unequal)}`);
          return;
        }
        await rest(50, signal);
      }
    },
  };
}

/** Asking twice is asking once, so that a lost answer costs nothing. */
async function askCutover(client: Client, address: typeof guest, signal: AbortSignal): Promise<void> {
  try {
    await client.act(migration, address, 'cutover', { signal });
  } catch (error) {
    const passing = error instanceof Problem && ['unknown-outcome', 'unavailable', 'conflict'].includes(error.kind);
    if (!passing || signal.aborted) throw error;
  }
}

/** A POST is not repeated by the client: whether it had an effect is not known. Here it does no harm. */
async function insist(client: Client, action: 'start' | 'stop', signal: AbortSignal): Promise<void> {
  for (;;) {
    try {
      await client.act(instance, guest, action, { signal });
      return;
    } catch (error) {
      const repeatable = error instanceof Problem && (error.kind === 'unknown-outcome' || error.kind === 'unavailable');
      if (!repeatable || signal.aborted) throw error;
      await rest(100, signal);
    }
  }
}

async function activityIs(client: Client, wanted: 'running' | 'stopped', signal: AbortSignal): Promise<void> {
  const what = `the guest is ${wanted}`;
  await settled(client, instance, guest, ({ status }) => status?.activity?.value === wanted, { signal, withinSeconds, what });
}
