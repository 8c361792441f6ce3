import { type BootEvidence, type BootProbeFinding, type MigrationSpec, type ObservedBootProbe, Problem } from '@virt8ra/contract';
import type { InstanceRealizationStatus } from '@virt8ra/driver';
import type { Poll, StepContext } from '@virt8ra/engine';
import type { KindContext } from '../context.js';
import type { MoveInput, MovePlan, Prepared } from './plan.js';
import { call, facetsAt, statusOf, write } from './site-facets.js';
import { type MigrationStatus, showPhase, specificationAt } from './subjects.js';
import { pollTargetUp, receiveSpecOf } from './target.js';
import { bothEnds, sendTo } from './transfer.js';

/** A guest that has shown life must go on for so long; milliseconds. */
const steadyMs = 5_000;
/** Firmware and boot loader read less. */
const tellingReadBytes = 1024 * 1024;

/** What a guest shows at its source, and so must show where it is probed. Firmware speaks on the console of UEFI guests, so that their words there say little. */
export function evidenceOf({ guest, boot }: Partial<InstanceRealizationStatus>, firmware: 'BIOS' | 'UEFI'): BootEvidence {
  if (guest !== undefined) return 'guest-agent';
  return firmware === 'BIOS' && (boot?.serialBytes ?? 0) > 0 ? 'serial-console' : 'disk-reads';
}

/** Why a move cannot be probed as it is wanted, in words; undefined when it can. */
export function probeFaultOf({
  mode,
  bootProbe,
  guestChanges,
}: Pick<MigrationSpec, 'mode' | 'bootProbe' | 'guestChanges'>): string | undefined {
  if (bootProbe === undefined) return undefined;
  if (mode === 'live') return 'a live move boots nothing that could be probed; its guest goes on with its memory';
  // What boots in isolation is the copy as it came, and not what it is changed to.
  if (bootProbe.in === 'isolation' && guestChanges === 'needed')
    return 'the copy is changed inside after its source has stopped, and only then boots as it will; probe it in place';
  return undefined;
}

/** Has the source send nothing more for a while, so that the copy is that of one point in time. */
export async function holdCopy(
  context: KindContext,
  step: StepContext,
  input: MoveInput,
  plan: MovePlan,
  prepared: Prepared,
): Promise<void> {
  await write(context, step, async (tx) => await showPhase(tx, input.migration, 'probe'));
  await bothEnds(context, step, plan, prepared, 'copy');
  await sendTo(context, step, plan, 'copy', undefined, { hold: true });
}

/**
 * Has the copy boot in isolation while the source holds, and waits for what is seen. A source that went on meanwhile, as after a restart of its agent, has
 * the probe begun anew. Raises `conflict` with what was seen when the copy does not boot.
 */
export async function pollBootProbed(
  context: KindContext,
  step: StepContext,
  input: MoveInput,
  plan: MovePlan,
  prepared: Prepared,
): Promise<Poll<BootProbeFinding>> {
  const probe = plan.bootProbe;
  if (probe === undefined) throw new Problem('internal', 'a probe without a plan for it');
  const { sender, receiver } = await bothEnds(context, step, plan, prepared, 'copy', true);
  if (sender?.held === undefined || receiver === undefined) {
    await show(context, step, input, { in: 'isolation', state: 'waiting', expects: probe.expects });
    return { waitSeconds: 1 };
  }
  const request = `${plan.transfer.key}-${sender.held.pass}`;
  const seen = receiver.probe;
  if (seen?.request !== request) {
    const {
      permit: _,
      surrenderEpoch: __,
      pciDevices: ___,
      cpuPolicy: ____,
      hugePages: _____,
      rescue: ______,
      ...spec
    } = await specificationAt(context, plan, plan.to, { power: 'on', volumes: prepared.volumes });
    const instance = { ...spec, nics: [], exposedPorts: [] };
    const { timeoutSeconds, expects } = probe;
    await receive(context, step, plan, prepared, { request, timeoutSeconds, expects, instance, instanceKey: plan.instance.target.key });
    return { waitSeconds: 1 };
  }
  const finding = findingOf(seen, probe.expects);
  await show(context, step, input, finding);
  if (seen.state === 'booting') return { waitSeconds: 1 };
  if (seen.state === 'alive') return { done: finding };
  throw new Problem('conflict', `the copy of ${plan.instance.name} does not boot at ${plan.to.host}: ${seen.reason ?? 'no reason given'}`, {
    facts: { bootProbe: 'failed', in: 'isolation' },
  });
}

/** The source goes on, and nothing of the probe is left at the target. */
export async function endProbe(context: KindContext, step: StepContext, plan: MovePlan, prepared: Prepared): Promise<void> {
  await receive(context, step, plan, prepared, undefined);
  await sendTo(context, step, plan, 'copy', undefined);
}

/** Waits until that is so: what holds on would hold on when the guest is stopped. */
export async function pollProbeEnded(context: KindContext, step: StepContext, plan: MovePlan, prepared: Prepared): Promise<Poll<null>> {
  const { sender, receiver } = await bothEnds(context, step, plan, prepared, 'copy');
  if (sender === undefined || receiver === undefined || receiver.probe !== undefined) return { waitSeconds: 0.5 };
  // What was off is not sent further in any case.
  return plan.mode !== 'cold' && sender.held !== undefined ? { waitSeconds: 0.5 } : { done: null };
}

/**
 * Waits for the guest that was started at the target to show what it shows at its source. Raises `conflict` when it does not in time, so that it
 * returns.
 */
export async function pollBootedInPlace(
  context: KindContext,
  step: StepContext,
  input: MoveInput,
  plan: MovePlan,
  started: Parameters<typeof pollTargetUp>[2],
): Promise<Poll<BootProbeFinding>> {
  const probe = plan.bootProbe;
  if (probe === undefined) throw new Problem('internal', 'a probe without a plan for it');
  const { expects, timeoutSeconds } = probe;
  const now = context.now();
  const shown = await write(context, step, async (tx) => {
    const held = await tx.lock<MigrationSpec, MigrationStatus>(input.migration);
    return held?.status.bootProbe;
  });
  const beganAt = shown?.beganAt ?? now.toISOString();
  const elapsedMs = Math.max(0, now.getTime() - Date.parse(beganAt));
  const up = await pollTargetUp(context, plan, started);
  const { instances } = await facetsAt(context, plan.to.site);
  const status = statusOf(await instances.observe(started.handle), `instance ${plan.instance.name} at ${plan.to.host}`);
  const { readBytes = 0, serialBytes = 0 } = status?.boot ?? {};
  const observed = 'done' in up && status?.activity === 'running' ? observedOf(status, expects, elapsedMs) : undefined;
  const common = { in: 'place', expects, beganAt, seconds: Math.round(elapsedMs / 1000), readBytes, serialBytes } as const;
  if (observed !== undefined) {
    const finding: BootProbeFinding = { ...common, state: 'passed', observed };
    await show(context, step, input, finding);
    return { done: finding };
  }
  if (elapsedMs < timeoutSeconds * 1000) {
    await show(context, step, input, { in: 'place', state: 'booting', expects, beganAt });
    return { waitSeconds: 1 };
  }
  const reason = `it did not show within ${timeoutSeconds} s what it shows at its source (${expects}); it read ${readBytes} bytes and its serial console has ${serialBytes}`;
  await show(context, step, input, { ...common, state: 'failed', reason });
  throw new Problem('conflict', `instance ${plan.instance.name} does not come up at ${plan.to.host}: ${reason}`, {
    facts: { bootProbe: 'failed', in: 'place' },
  });
}

function observedOf(
  { guest, startedAt, boot }: InstanceRealizationStatus,
  expects: BootEvidence,
  elapsedMs: number,
): BootEvidence | undefined {
  if (guest !== undefined && Date.parse(guest.at) >= Date.parse(startedAt ?? guest.at)) return 'guest-agent';
  if (expects === 'guest-agent' || elapsedMs < steadyMs) return undefined;
  if (expects === 'serial-console') return (boot?.serialBytes ?? 0) > 0 ? 'serial-console' : undefined;
  return (boot?.readBytes ?? 0) >= tellingReadBytes ? 'disk-reads' : undefined;
}

async function receive(
  context: KindContext,
  step: StepContext,
  plan: MovePlan,
  prepared: Prepared,
  probe: Parameters<typeof receiveSpecOf>[4],
): Promise<void> {
  const { disks } = await facetsAt(context, plan.to.site);
  const spec = await receiveSpecOf(context, plan, prepared.volumes, prepared.instance, probe);
  await call(step, async () => await disks.receive(spec, plan.transfer.key));
}

function findingOf(
  { state, observed, seconds, readBytes, serialBytes, reason, serialTail }: ObservedBootProbe,
  expects: BootEvidence,
): BootProbeFinding {
  const common = { in: 'isolation', expects } as const;
  if (state === 'booting') return { ...common, state };
  return {
    ...common,
    state: state === 'alive' ? 'passed' : 'failed',
    seconds,
    readBytes,
    serialBytes,
    ...(observed === undefined ? {} : { observed }),
    ...(reason === undefined ? {} : { reason }),
    ...(serialTail === undefined ? {} : { serialTail }),
  };
}

async function show(context: KindContext, step: StepContext, { migration }: MoveInput, finding: BootProbeFinding): Promise<void> {
  await write(context, step, async (tx) => {
    const held = await tx.lock<MigrationSpec, MigrationStatus>(migration);
    if (held !== undefined && JSON.stringify(held.status.bootProbe) !== JSON.stringify(finding))
      await tx.setStatus(migration, { bootProbe: finding });
  });
}
