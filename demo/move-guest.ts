import { type Client, type ResourceOf, rest } from '@virt8ra/client';
import { type Address, instance, migration, Problem } from '@virt8ra/contract';
import type { AskingClient } from './asking-client.js';
import { type Narrator, sizeText, spanText } from './narrator.js';
import type { MoveReport } from './report.js';
import { reasonOf } from './settled.js';

export interface MoveOrder {
  readonly name: string;
  readonly mode: 'live' | 'warm' | 'cold';
  readonly guest: Address;
  readonly from: string;
  readonly to: string;
  readonly withinSeconds: number;
  /** For so long a way back is kept. */
  readonly keepHours?: number;
}

export interface MoveTools {
  readonly client: Client;
  readonly asking: AskingClient;
  readonly narrator: Narrator;
  readonly signal: AbortSignal;
}

/** What is seen of a move while it goes on. */
export interface MoveSighting {
  readonly phase: string;
  readonly bytes: number;
  readonly totalBytes: number;
}

export interface Move extends MoveReport {
  readonly resentBytes: number;
  readonly resource: ResourceOf<typeof migration>;
}

const lookMs = 100;
const overPhases = new Set(['done', 'kept', 'failed', 'returned']);

/**
 * Moves the guest and tells how it goes. `onSighting` is told of every look and may do as it likes meanwhile. Raises when the move failed or
 * returned, or when the guest does not answer after it.
 */
export async function moveGuest(
  order: MoveOrder,
  { client, asking, narrator, signal }: MoveTools,
  onSighting: (sighting: MoveSighting) => Promise<void> = async () => {},
): Promise<Move> {
  const { guest, mode, from, to, keepHours } = order;
  const address = { ...guest, name: order.name };
  const what = `${mode} move ${from} → ${to}`;
  const before = asking.answers.at(-1);
  if (before === undefined) throw new Problem('internal', 'the guest was never heard');
  const begin = performance.now();
  await client.put(migration, address, {
    spec: {
      instanceRef: `instances/${guest.name}`,
      toSite: to,
      mode,
      ...(keepHours === undefined ? {} : { wayBack: { hours: keepHours } }),
    },
  });
  const resource = await follow();

  const { status } = resource;
  if (status?.phase !== (keepHours === undefined ? 'done' : 'kept'))
    throw new Problem('internal', `the ${what} did not succeed. ${reasonOf(status)}`);
  const placed = (await client.get(instance, guest, signal)).status?.placement?.site;
  if (placed !== to) throw new Problem('internal', `after the ${what} the guest is said to be at ${placed}`);
  const ended = performance.now();
  const after = mode === 'live' ? await asking.next(ended, 60, signal) : await firstAnswerOfNewBoot();
  const last = asking.answers.findLast((answer) => answer.at < (mode === 'live' ? ended : after.at)) ?? before;
  const digests = status.digests ?? [];
  return {
    mode,
    from,
    to,
    gapMs: Math.round(asking.longestGap(begin)),
    pauseMs: mode === 'cold' ? null : (status.pauseMs ?? null),
    bytes: status.bytes ?? null,
    digestEqual: digests.length > 0 && digests.every(({ equal, source, target }) => equal && source === target),
    sameBoot: after.bootId === before.bootId,
    counterBefore: last.counter,
    counterAfter: after.counter,
    resentBytes: status.resentBytes ?? 0,
    resource,
  };

  async function follow(): Promise<ResourceOf<typeof migration>> {
    const deadline = begin + order.withinSeconds * 1000;
    for (;;) {
      const [seen, progress] = await Promise.all([client.get(migration, address, signal), client.progress(migration, address, signal)]);
      const phase = seen.status?.phase ?? 'plan';
      const bytes = progress?.bytes ?? 0;
      const totalBytes = progress?.totalBytes ?? 0;
      const share = totalBytes > 0 ? `, ${sizeText(bytes)} of ${sizeText(totalBytes)} at ${sizeText(progress?.bytesPerSecond ?? 0)}/s` : '';
      const pass = progress?.pass === undefined ? '' : `, pass ${progress.pass}`;
      const silent = performance.now() - (asking.answers.at(-1)?.at ?? 0);
      narrator.live(`${what}: ${phase}${pass}${share}; guest ${silent > 1500 ? `silent for ${spanText(silent)}` : 'answers'}`);
      if (overPhases.has(phase)) return seen;
      await onSighting({ phase, bytes, totalBytes });
      if (performance.now() > deadline) {
        throw new Problem('unavailable', `the ${what} was not over within ${order.withinSeconds} s. ${reasonOf(seen.status)}`);
      }
      await rest(lookMs, signal);
    }
  }

  /** The guest boots at the target, so that its boot number tells which side speaks. */
  async function firstAnswerOfNewBoot() {
    const known = before?.boots ?? 0;
    const deadline = performance.now() + 120_000;
    for (;;) {
      const found = asking.answers.find((answer) => answer.at > begin && answer.boots > known);
      if (found !== undefined) return found;
      if (performance.now() > deadline) throw new Problem('unavailable', `the guest did not answer at ${asking.url} after the ${what}`);
      narrator.live(`${what}: waiting for the guest to answer`);
      await rest(lookMs, signal);
    }
  }
}

/** A move in a line or two. */
export function tellMove(narrator: Narrator, move: Move): void {
  const pause = move.pauseMs === null ? '' : `paused ${spanText(move.pauseMs)}, `;
  const boot =
    move.pauseMs === null || move.mode === 'live'
      ? ''
      : ` (pause ${spanText(move.pauseMs)} + boot ${spanText(Math.max(0, move.gapMs - move.pauseMs))})`;
  const passes = move.mode === 'warm' ? ` in ${move.resource.status?.passes ?? 'unknown'} passes` : '';
  const same = move.mode === 'live' ? `, boot id ${move.sameBoot ? 'the same' : 'CHANGED'}` : '';
  narrator.done(`${move.mode} move ${move.from} → ${move.to}: ${pause}disks ${move.digestEqual ? 'identical' : 'DIFFER'}${same}`);
  narrator.note(
    `${sizeText(move.bytes ?? 0)} carried${passes}; the client missed ${spanText(move.gapMs)}${boot}; counter ${move.counterBefore} → ${move.counterAfter}`,
  );
}
