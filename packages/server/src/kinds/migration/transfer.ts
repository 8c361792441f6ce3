import { Problem } from '@virt8ra/contract';
import type { DisksFacet, Handle, SendSpec, TransferStatus } from '@virt8ra/driver';
import type { Poll, StepContext } from '@virt8ra/engine';
import type { KindContext } from '../context.js';
import { recordSurrender } from '../instance/index.js';
import type { MoveInput, MovePlan, Prepared } from './plan.js';
import { call, facetsAt, lastStatusOf, removed, statusOf, write } from './site-facets.js';
import { showPhase } from './subjects.js';

/** A slow disk copies so much. */
const seedBytesPerSecond = 20 * 1024 * 1024;

type Peer = Pick<SendSpec['peer'], 'address' | 'port'>;

/** What one move learnt from both ends of its transfer. */
export interface Released {
  /** Source guest stopped → last byte durable at the target; absent when it was stopped before. */
  readonly pauseMs?: number;
  readonly pausedAt?: string;
  /** Root digest per disk, in the order of the plan. */
  readonly roots: readonly string[];
  readonly bytes: number;
  readonly resentBytes: number;
  readonly passes: number;
}

/** Seconds a receiver may take until it listens: it reads first what the target holds already. */
export function listeningSeconds(plan: MovePlan): number {
  return Math.ceil(300 + plan.volumes.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0) / seedBytesPerSecond);
}

/** Waits for the receiver to say where it listens, and shows what it held already. */
export async function pollListening(
  context: KindContext,
  step: StepContext,
  input: MoveInput,
  plan: MovePlan,
  prepared: Prepared,
): Promise<Poll<Peer>> {
  const { blockStorages, disks, instances } = await facetsAt(context, plan.to.site);
  // A disk that cannot be made, as on a full host, would have the receiver wait for ever.
  for (const [index, handle] of prepared.volumes.entries()) {
    statusOf(await blockStorages.observe(handle), `block storage ${plan.volumes[index]?.name} at ${plan.to.host}`);
  }
  if (prepared.instance !== undefined)
    statusOf(await instances.observe(prepared.instance), `instance ${plan.instance.name} at ${plan.to.host}`);
  const status = await endOf(disks, prepared.receiver, 'receiving');
  const peer = peerOf(status);
  if (peer === undefined) return { waitSeconds: 0.5 };
  const seeds = plan.volumes.flatMap(({ name }, index) => {
    const seed = status?.seeds?.[index] ?? undefined;
    const { problem } = seed ?? {};
    return seed === undefined ? [] : [{ disk: name, bytes: seed.bytes, ...(problem === undefined ? {} : { problem: problem.message }) }];
  });
  if (seeds.length > 0 && plan.way !== 'back')
    await write(context, step, async (tx) => {
      if ((await tx.lock(input.migration)) !== undefined) await tx.setStatus(input.migration, { seeds });
    });
  return { done: peer };
}

/** Has the source copy to the receiver. Done again with another `goal` or `peer` it changes the same transfer; undefined: the peer that it has. */
export async function sendTo(
  context: KindContext,
  step: StepContext,
  plan: MovePlan,
  goal: SendSpec['goal'],
  given: Peer | undefined,
  { arrived, hold }: { readonly arrived?: true; readonly hold?: boolean } = {},
): Promise<Handle> {
  const peer = given ?? (await knownPeer(context, plan));
  const source = await facetsAt(context, plan.from.site);
  const target = await facetsAt(context, plan.to.site);
  // The peer first: an abort after a lost reply must be able to say it.
  await write(context, step, async (tx) => await tx.ledger.setFacts(plan.transfer.id, { peer }));
  const spec: SendSpec = {
    host: plan.from.host,
    mode: plan.mode,
    instance: plan.instance.source.handle,
    disks: plan.volumes.map(({ source: { handle }, sizeBytes }) => ({ volume: handle, sizeBytes })),
    peer: { ...peer, name: target.disks.peerName(plan.to.host) },
    minPasses: plan.mode === 'warm' ? plan.minPasses : 0,
    goal,
    epoch: plan.epoch,
    ...(arrived === undefined ? {} : { arrived }),
    ...(hold === true ? { hold } : {}),
  };
  const sender = await call(step, async () => await source.disks.send(spec, plan.transfer.key));
  await write(context, step, async (tx) => await tx.ledger.setFacts(plan.transfer.id, { sender }));
  return sender;
}

/** Stops the source's guest for good: last changes, then its run permit is given up. */
export async function orderFinish(context: KindContext, step: StepContext, input: MoveInput, plan: MovePlan): Promise<void> {
  await write(context, step, async (tx) => await showPhase(tx, input.migration, 'cutover'));
  await sendTo(context, step, plan, 'finish', await knownPeer(context, plan));
}

/** Waits until both ends agree on what was copied and the source has promised not to run it again; keeps the promise. */
export async function pollReleased(context: KindContext, step: StepContext, plan: MovePlan, prepared: Prepared): Promise<Poll<Released>> {
  const again = { waitSeconds: 0.2 };
  const { sender, receiver } = await bothEnds(context, step, plan, prepared, 'finish');
  if (plan.mode === 'live') {
    // The word of the source is enough; the target may run already, or needs to be told.
    if (!(await recordRelease(context, step, plan)) || sender === undefined) return again;
    return { done: { roots: [], ...countersOf(sender) } };
  }
  if (sender?.state !== 'finished' || receiver?.state !== 'finished') return again;
  const roots = sender.roots ?? [];
  if (roots.length !== plan.volumes.length || roots.some((root, index) => root !== receiver.roots?.[index])) {
    throw new Problem('conflict', 'the target did not receive what the source sent', {
      facts: { sent: roots, received: receiver.roots ?? [] },
    });
  }
  if (!(await recordRelease(context, step, plan))) return again;
  return { done: { roots, ...countersOf(sender) } };
}

/** Keeps the source's promise not to run it again; false while it has not made it. */
async function recordRelease(context: KindContext, step: StepContext, plan: MovePlan): Promise<boolean> {
  const { instances } = await facetsAt(context, plan.from.site);
  const status = statusOf(await instances.observe(plan.instance.source.handle), `instance ${plan.instance.name} at ${plan.from.host}`);
  const surrender = status?.surrender;
  if (surrender?.epoch !== plan.epoch) return false;
  await write(context, step, async (tx) => await recordSurrender(tx.client, surrender));
  return true;
}

function countersOf({ pauseMs, pausedAt, bytes, resentBytes, passes }: TransferStatus): Omit<Released, 'roots'> {
  return {
    bytes,
    resentBytes,
    passes,
    ...(pauseMs === undefined ? {} : { pauseMs }),
    ...(pausedAt === undefined ? {} : { pausedAt }),
  };
}

/** Live, with the guest seen to run at the target: waits until nothing of it is left in the source's memory, whether the hosts reach each other or not. */
export async function pollSourceEnded(context: KindContext, step: StepContext, plan: MovePlan): Promise<Poll<Released>> {
  const { disks } = await facetsAt(context, plan.from.site);
  const handle = await knownSender(context, plan);
  if (handle === undefined) throw new Problem('not-found', 'the sending end is gone');
  const sender = await endOf(disks, handle, 'sending');
  if (sender?.state === 'finished') return { done: { roots: [], ...countersOf(sender) } };
  await sendTo(context, step, plan, 'finish', undefined, { arrived: true });
  return { waitSeconds: 0.5 };
}

/** Undo: the source goes on by itself. Raises `unavailable` until its end has stopped for good. */
export async function settleSender(context: KindContext, step: StepContext, plan: MovePlan): Promise<Handle | undefined> {
  const { disks } = await facetsAt(context, plan.from.site);
  const sender = await knownSender(context, plan);
  if (sender === undefined) return undefined;
  const isSettled = async (): Promise<boolean> => {
    const seen = lastStatusOf(await disks.observe(sender));
    return seen === 'absent' || seen?.state === 'aborted' || seen?.state === 'finished';
  };
  if (await isSettled()) return sender;
  await sendTo(context, step, plan, 'abort', await knownPeer(context, plan));
  if (!(await isSettled())) throw new Problem('unavailable', 'the source is still ending its copy', { retryAfterSeconds: 1 });
  return sender;
}

/** Undo: nothing of the sending end is left. */
export async function removeSender(context: KindContext, step: StepContext, plan: MovePlan): Promise<void> {
  const sender = await settleSender(context, step, plan);
  if (sender === undefined) return;
  await write(context, step, async (tx) => await tx.ledger.setFacts(plan.transfer.id, { sender }));
  const { disks } = await facetsAt(context, plan.from.site);
  if (!(await removed(step, disks, sender))) throw new Problem('unavailable', 'the sending end is still there', { retryAfterSeconds: 1 });
}

/** Both ends as they are now. A receiver that listens elsewhere than before, as after a restart of its agent, is made known to the sender. */
export async function bothEnds(
  context: KindContext,
  step: StepContext,
  plan: MovePlan,
  prepared: Prepared,
  goal: SendSpec['goal'],
  hold = false,
): Promise<{ readonly sender: TransferStatus | undefined; readonly receiver: TransferStatus | undefined }> {
  const source = await facetsAt(context, plan.from.site);
  const target = await facetsAt(context, plan.to.site);
  const handle = await knownSender(context, plan);
  if (handle === undefined) throw new Problem('not-found', 'the sending end is gone');
  const sender = await endOf(source.disks, handle, 'sending');
  const receiver = await endOf(target.disks, prepared.receiver, 'receiving');
  const peer = peerOf(receiver);
  if (peer !== undefined && sender?.state !== 'finished') {
    const told = await knownPeer(context, plan);
    if (told.address !== peer.address || told.port !== peer.port) await sendTo(context, step, plan, goal, peer, { hold });
  }
  return { sender, receiver };
}

/**
 * One end as it is now; undefined while its site cannot tell. Raises `conflict` when it has ended without being through: whatever made it fail, an
 * end that says so has done all it could, and does no more until it is called off.
 */
async function endOf(disks: DisksFacet, handle: Handle, act: 'sending' | 'receiving'): Promise<TransferStatus | undefined> {
  const seen = await disks.observe(handle);
  if (seen.type === 'broken' && seen.status.state === 'failed')
    throw new Problem('conflict', `the ${act} end failed: ${seen.problem.message}`, { facts: seen.problem.facts, cause: seen.problem });
  const status = statusOf(seen, `the ${act} end`);
  if (status?.state === 'failed' || status?.state === 'aborting' || status?.state === 'aborted')
    throw new Problem('conflict', `the ${act} end has ended (${status.state})`);
  return status;
}

function peerOf(status: TransferStatus | undefined): Peer | undefined {
  if (status?.address === undefined || status.port === undefined) return undefined;
  return { address: status.address, port: status.port };
}

async function knownSender(context: KindContext, plan: MovePlan): Promise<Handle | undefined> {
  const transfer = await context.store.ledger.byKey(plan.transfer.key);
  const kept = transfer?.facts['sender'] as Handle | undefined;
  if (kept !== undefined) return kept;
  const { disks } = await facetsAt(context, plan.from.site);
  return await disks.find(plan.transfer.key, plan.from.host);
}

async function knownPeer(context: KindContext, plan: MovePlan): Promise<Peer> {
  const peer = (await context.store.ledger.byKey(plan.transfer.key))?.facts['peer'] as Peer | undefined;
  if (peer === undefined) throw new Problem('internal', 'the transfer was never given a peer');
  return peer;
}
