import { type GuestChange, type Id, type InstanceSpec, type PrepareGuest, Problem, preparation } from '@virt8ra/contract';
import type { Handle, InstanceRealizationSpec } from '@virt8ra/driver';
import type { Poll, StepContext } from '@virt8ra/engine';
import type { KindContext } from '../context.js';
import { type InstanceStatus, realizationSpecOf } from '../instance/index.js';
import { inspectGuest } from './inspect-guest.js';
import type { MoveInput, MovePlan, Place, Prepared } from './plan.js';
import { facetsAt, statusOf, write } from './site-facets.js';
import { showPhase } from './subjects.js';

/** What is to become of the copy, for the machine that an instance gets at a site with agents. */
export function prepareOf(changes: 'none' | 'needed', { architecture, firmware, nics, seed }: InstanceRealizationSpec): PrepareGuest {
  const target: PrepareGuest['target'] = {
    architecture,
    firmware: firmware === 'UEFI' ? 'uefi' : 'bios',
    diskBus: 'virtio-blk',
    nics: nics.map(({ mac, addresses }) => ({ mac, addresses: [...addresses] })),
    identity: { datasource: 'NoCloud', instanceId: seed.instanceId },
  };
  return { target, changes: changes === 'needed' ? 'make' : 'refuse' };
}

/**
 * Looks into a guest at its source whose owner wants nothing in it changed. Raises `conflict` with all that would have to be. Where the source cannot look, the copy is looked into
 * after it has arrived.
 */
export async function assertNoGuestChanges(
  context: KindContext,
  from: Place,
  instance: { readonly uid: Id<'resource'>; readonly handle: Handle },
): Promise<void> {
  const { streams } = await context.sites.connectionOf(from.site);
  const stored = await context.store.getByUid<InstanceSpec, InstanceStatus>(instance.uid);
  if (streams === undefined || stored === undefined) return;
  // The machine is the same at both sites, NICs and addresses included.
  const machine = await realizationSpecOf(context, stored, from, { power: 'off', volumes: [], restarts: 0 });
  const { target } = prepareOf('none', machine);
  try {
    const { facts } = await inspectGuest(streams, instance.handle, inspectedSeconds);
    const needed = preparation(facts, target).map(({ code, file, why }) => `${code} in ${file} (${why})`);
    if (needed.length > 0)
      throw new Problem('conflict', `its guest would have to be changed, and --no-guest-changes forbids it: ${needed.join('; ')}`);
  } catch (error) {
    if (!(error instanceof Problem) || error.kind !== 'unsupported') throw error;
  }
}

/** A guest that was looked into so short a time ago is as it was. */
const inspectedSeconds = 3600;

/**
 * Waits for the copy to be changed as its guest needs it at the target; the frozen copy below stays as it arrived. Raises `conflict` with the host's words when that
 * failed: the source has not lost anything, and goes on.
 */
export async function pollGuestPrepared(
  context: KindContext,
  step: StepContext,
  input: MoveInput,
  plan: MovePlan,
  prepared: Prepared,
): Promise<Poll<{ readonly changes: readonly GuestChange[] }>> {
  await write(context, step, async (tx) => await showPhase(tx, input.migration, 'prepare-guest'));
  const { disks } = await facetsAt(context, plan.to.site);
  const report = statusOf(await disks.observe(prepared.receiver), 'the receiving end')?.prepared;
  switch (report?.state) {
    case 'prepared': {
      const { changes } = report;
      await write(context, step, async (tx) => {
        if ((await tx.lock(input.migration)) !== undefined) await tx.setStatus(input.migration, { guestChanges: changes });
      });
      return { done: { changes } };
    }
    case 'failed':
      throw new Problem('conflict', `the copy could not be prepared for ${plan.to.host}: ${report.problem?.message ?? 'no reason given'}`, {
        facts: { code: report.problem?.code },
      });
    case 'changing':
    case undefined:
      return { waitSeconds: 1 };
  }
}
