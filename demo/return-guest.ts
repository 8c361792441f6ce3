import { rest, type StatusOf } from '@virt8ra/client';
import { instance, migration, Problem } from '@virt8ra/contract';
import type { MoveOrder, MoveTools } from './move-guest.js';
import { sizeText, spanText } from './narrator.js';
import type { MoveReport } from './report.js';
import { reasonOf } from './settled.js';

type Status = NonNullable<StatusOf<typeof migration>>;

const lookMs = 100;

/**
 * Brings a guest back by the way that its move has kept, once what it wrote has flowed back. `order` is the move there. Raises when the return was undone, or when
 * the guest does not answer after it.
 */
export async function returnGuest(order: MoveOrder, { client, asking, narrator, signal }: MoveTools): Promise<MoveReport> {
  const { guest, from, to } = order;
  const address = { ...guest, name: order.name };
  const what = `return ${to} → ${from}`;
  const status = await until('what it writes flows back', ({ wayBack }) => wayBack?.reverse.state === 'current');
  narrator.note(
    `its disks stay at ${status.wayBack?.at.host} (${sizeText(status.wayBack?.retainedBytes ?? 0)}); ${sizeText(status.wayBack?.reverse.bytes ?? 0)} flowed back so far`,
  );
  const begin = performance.now();
  const before = await asking.next(begin, 60, signal);
  await client.act(migration, address, 'return', { body: { mode: 'warm' } });
  const { return: journey } = await until('it is back', ({ phase }) => phase === 'brought-back');
  const placed = (await client.get(instance, guest, signal)).status?.placement?.site;
  if (placed !== from) throw new Problem('internal', `after the ${what} the guest is said to be at ${placed}`);
  const after = await answerOfNewBoot(before.boots);
  const last = asking.answers.findLast((answer) => answer.at < after.at) ?? before;
  const digests = journey?.digests ?? [];
  const gapMs = Math.round(asking.longestGap(begin));
  const digestEqual = digests.length > 0 && digests.every(({ equal, source, target }) => equal && source === target);
  narrator.done(
    `${what}: paused ${spanText(journey?.pauseMs ?? 0)}, disks ${digestEqual ? 'identical' : 'DIFFER'}, nothing that it wrote is lost`,
  );
  narrator.note(
    `${sizeText(journey?.bytes ?? 0)} carried; the client missed ${spanText(gapMs)}; counter ${last.counter} → ${after.counter}`,
  );
  return {
    mode: 'warm',
    way: 'back',
    from: to,
    to: from,
    gapMs,
    pauseMs: journey?.pauseMs ?? null,
    bytes: journey?.bytes ?? null,
    digestEqual,
    sameBoot: after.bootId === before.bootId,
    counterBefore: last.counter,
    counterAfter: after.counter,
  };

  async function until(goal: string, reached: (status: Status) => boolean): Promise<Status> {
    const deadline = performance.now() + order.withinSeconds * 1000;
    for (;;) {
      const seen = (await client.get(migration, address, signal)).status;
      if (seen !== undefined && reached(seen)) return seen;
      narrator.live(`${what}: ${seen?.phase ?? 'unknown'}; waiting until ${goal}`);
      const undone = seen?.wayBack?.asked === undefined && seen?.return?.problem !== undefined;
      if (undone || performance.now() > deadline)
        throw new Problem('internal', `the ${what}: it is not so that ${goal}. ${reasonOf(seen)}`);
      await rest(lookMs, signal);
    }
  }

  async function answerOfNewBoot(known: number) {
    const deadline = performance.now() + 120_000;
    for (;;) {
      const found = asking.answers.find((answer) => answer.at > begin && answer.boots > known);
      if (found !== undefined) return found;
      if (performance.now() > deadline) throw new Problem('unavailable', `the guest did not answer at ${asking.url} after the ${what}`);
      await rest(lookMs, signal);
    }
  }
}
