import { type Id, type ImportFinding, type InstanceImportPlan, type InstanceImportSpec, Problem, toProblem } from '@virt8ra/contract';
import { defineWorkflow, type Poll, type StepContext, type Workflow } from '@virt8ra/engine';
import type { Artifact, ImageLimits } from '../../artifacts/artifact.js';
import type { ArtifactStore } from '../../artifacts/artifact-store.js';
import { type OvaMachine, openOva } from '../../ovf/open-ova.js';
import type { KindContext } from '../context.js';
import { fetchContent, reasonOfRefusal } from '../image-import/index.js';
import { longStep } from '../long-step.js';
import { write } from '../site-calls.js';
import { type InstanceImport, type MakingBehaviours, makeMachine, rehearse } from './make.js';
import { planImport } from './plan.js';
import type { InstanceImportStatus } from './status.js';

export interface MakeInput {
  readonly uid: Id<'resource'>;
  readonly sha256: string;
  /** Undefined: the content was sent and is complete. */
  readonly url?: string;
}

export type MachineArtifacts = Pick<
  ArtifactStore,
  'begin' | 'received' | 'fetch' | 'discard' | 'verifyContent' | 'withContent' | 'convertPart'
>;

export interface MakeParts {
  readonly context: Pick<KindContext, 'store' | 'now'>;
  readonly artifacts: MachineArtifacts;
  readonly behaviours: MakingBehaviours;
  readonly limits: Pick<ImageLimits, 'maxVirtualBytes'>;
}

type Answer<Value> = { readonly value: Value } | { readonly refused: string };

/** How long what was sent is kept for somebody to decide. */
const decidedSeconds = 7 * 24 * 3600;
const lookAgainSeconds = 30;

/**
 * `instance-import.make`: brings an OVA in, looks at all of it, waits until it may be made and shall be, converts its disks, and makes everything in one
 * transaction.
 */
export function createMakeWorkflow(parts: MakeParts): Workflow<MakeInput, { readonly refused: string | null }> {
  const { context, artifacts } = parts;
  return defineWorkflow<MakeInput, { readonly refused: string | null }>({
    name: 'instance-import.make',
    version: 1,
    async run(run, input) {
      const { url } = input;
      const fetched =
        url === undefined
          ? null
          : await run.step(
              'fetch',
              async (step) => await reasonOfRefusal(async () => await fetchContent(context, artifacts, step, input, url)),
              async () => await artifacts.discard(input.uid),
            );
      const seen: Answer<OvaMachine> =
        fetched === null ? await run.step('read', async (step) => await read(parts, step, input)) : { refused: fetched };
      let refused = 'refused' in seen ? seen.refused : null;
      if ('value' in seen) {
        const machine = seen.value;
        const plan = await run.wait('planned', async (step) => await planned(parts, step, input, machine), {
          timeoutSeconds: decidedSeconds,
        });
        const made: (Artifact | null)[] = [];
        for (const [at, disk] of machine.disks.entries()) {
          if (disk.content === undefined) {
            made.push(null);
            continue;
          }
          const { content } = disk;
          const converted = await run.step(`convert-${at}`, async (step) => await convert(parts, step, input, at, content));
          if ('refused' in converted) {
            refused = `${disk.file ?? disk.id}: ${converted.refused}`;
            break;
          }
          made.push(converted.value);
        }
        const reason = refused;
        await run.commit('converted');
        refused = await run.step('make', async (step) => reason ?? (await make(parts, step, input, plan, made)));
      } else await run.commit('judged');
      const why = refused;
      await run.step('end', async (step) => {
        if (why !== null) await write(context, step, async (tx) => await refuseIn(tx, input.uid, why));
        await artifacts.discard(input.uid);
      });
      return { refused };
    },
  });
}

async function read({ context, artifacts, limits }: MakeParts, step: StepContext, { uid }: MakeInput): Promise<Answer<OvaMachine>> {
  await write(context, step, async (tx) => {
    const held = await tx.lock<InstanceImportSpec, InstanceImportStatus>(uid);
    if (held !== undefined && held.status.phase !== 'refused') await tx.setStatus(uid, { phase: 'reading' });
  });
  return await judged(
    async () =>
      await longStep(context, step, uid, 'reading', async ({ signal }) => {
        await artifacts.verifyContent(uid);
        return await artifacts.withContent(uid, async (file, bytes) => await openOva(file, bytes, limits, signal));
      }),
  );
}

/** Shows what would be made. Done once nothing is in its way and it is wanted. */
async function planned(
  { context, behaviours }: MakeParts,
  step: StepContext,
  { uid }: MakeInput,
  machine: OvaMachine,
): Promise<Poll<InstanceImportPlan>> {
  const held = (await context.store.getByUid(uid)) as InstanceImport | undefined;
  if (held === undefined || held.deletedAt !== undefined || held.status.phase === 'refused')
    throw new Problem('cancelled', 'the import is not wanted any more');
  const { plan, findings } = await planImport(context.store, held.address, held.spec, machine);
  const inTheWay = findings.some(({ severity }) => severity === 'blocks')
    ? undefined
    : await rehearse(async (work) => await context.store.transaction(work), behaviours, held, plan);
  const all = inTheWay === undefined ? findings : [findingOf(inTheWay), ...findings];
  const blocking = all.find(({ severity }) => severity === 'blocks');
  const goes = blocking === undefined && held.spec.planOnly !== true;
  const settled = await write(context, step, async (tx) => {
    const now = (await tx.lock(uid)) as InstanceImport | undefined;
    // Another PUT has come meanwhile: what it asks for was not looked at.
    if (now === undefined || now.deletedAt !== undefined || now.resourceVersion !== held.resourceVersion || now.status.phase === 'refused')
      return false;
    await tx.setProgress(uid, undefined);
    await tx.setStatus(uid, { phase: goes ? 'converting' : 'planned', plan, findings: all }, conditionOf(goes, blocking));
    return true;
  });
  return settled && goes ? { done: plan } : { waitSeconds: settled ? lookAgainSeconds : 1 };
}

function conditionOf(goes: boolean, blocking: ImportFinding | undefined) {
  if (blocking !== undefined)
    return { state: 'error', type: 'Planned', reason: 'Blocked', message: `${blocking.what}; ${blocking.mend}` } as const;
  const message = goes ? 'nothing is in its way' : 'nothing is in its way; it is made once planOnly is taken away';
  return { state: 'creating', type: 'Planned', reason: goes ? 'Going' : 'PlanOnly', message } as const;
}

function findingOf({ kind, message, sources }: Problem): ImportFinding {
  const where = sources.map(({ pointer, parameter }) => pointer ?? parameter).join(', ');
  const mend = 'mend that, then repeat the import as it should be: what was sent is kept';
  return { code: kind, severity: 'blocks', what: message.slice(0, 2000), where: where.slice(0, 500), mend };
}

async function convert(
  { context, artifacts }: MakeParts,
  step: StepContext,
  { uid }: MakeInput,
  at: number,
  { format, ...part }: NonNullable<OvaMachine['disks'][number]['content']>,
): Promise<Answer<Artifact>> {
  const converted = await judged(
    async () =>
      await longStep(
        context,
        step,
        uid,
        'converting',
        async ({ signal, tell }) =>
          await artifacts.convertPart(uid, `disk-${at}`, part, format, {
            signal,
            onPercent: (percent) => tell(Math.round((part.bytes * percent) / 100), part.bytes),
          }),
      ),
  );
  if ('value' in converted)
    await write(context, step, async (tx) => {
      const held = await tx.lock<InstanceImportSpec, InstanceImportStatus>(uid);
      const { plan } = held?.status ?? {};
      if (plan === undefined) return;
      const { sha256 } = converted.value;
      await tx.setStatus(uid, { plan: { ...plan, disks: plan.disks.map((disk, place) => (place === at ? { ...disk, sha256 } : disk)) } });
    });
  return converted;
}

/** Answers why it could not be made, or null. */
async function make(
  { context, behaviours }: MakeParts,
  step: StepContext,
  { uid }: MakeInput,
  plan: InstanceImportPlan,
  artifacts: readonly (Artifact | null)[],
): Promise<string | null> {
  try {
    await write(context, step, async (tx) => {
      const held = (await tx.lock(uid)) as InstanceImport | undefined;
      if (held === undefined || held.deletedAt !== undefined || held.status.phase === 'refused' || held.status.phase === 'done') return;
      const instanceRef = await makeMachine(
        tx,
        behaviours,
        held,
        plan,
        artifacts.map((artifact) => artifact ?? undefined),
      );
      await tx.setProgress(uid, undefined);
      await tx.setStatus(uid, { phase: 'done', instanceRef }, { state: 'active', type: 'Made', reason: 'Done' });
    });
    return null;
  } catch (error) {
    // Not all can be foreseen: a quota that was used up while disks were converted, a name that was taken.
    const { kind, retry, message } = toProblem(error);
    if (kind === 'exhausted' || (retry === 'never' && kind !== 'internal')) return message;
    throw error;
  }
}

async function judged<Value>(act: () => Promise<Value>): Promise<Answer<Value>> {
  let value: Value | undefined;
  const refused = await reasonOfRefusal(async () => {
    value = await act();
  });
  return value === undefined ? { refused: refused ?? 'the content cannot be used' } : { value };
}

type Transaction = Parameters<Parameters<KindContext['store']['transaction']>[0]>[0];

/** Says why the import has come to nothing; final. */
export async function refuseIn(tx: Transaction, uid: Id<'resource'>, reason: string): Promise<void> {
  const held = await tx.lock<InstanceImportSpec, InstanceImportStatus>(uid);
  if (held === undefined || held.status.phase === 'refused' || held.status.phase === 'done') return;
  await tx.setProgress(uid, undefined);
  await tx.setStatus(uid, { phase: 'refused' }, { state: 'error', type: 'Refused', reason: 'Refused', message: reason });
}
