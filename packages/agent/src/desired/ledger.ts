import { DesiredState, Problem } from '@virt8ra/contract';
import { Check } from 'typebox/value';
import { readJson, writeJsonAtomic } from '../disk/atomic-file.js';
import { type Quarantine, readJsonOrQuarantine } from '../disk/quarantine.js';
import { type HostObject, objectId, objectsOf } from './host-object.js';

interface LedgerFile {
  readonly version: 1;
  readonly epoch: string | null;
  readonly state: DesiredState;
  /** Objects of an earlier epoch that this one has not listed yet: reported, and left as they are. */
  readonly kept: readonly string[];
}

export interface Ledger {
  readonly epoch: string | null;
  readonly state: DesiredState;
  /** False while no control plane has told this ledger anything: it is new, was lost, or was damaged. */
  readonly told: boolean;
  /** Objects that are left as they are until the control plane has listed them once. */
  readonly kept: readonly string[];
  /** True when the object may be removed once it is absent from the state. */
  mayRemove(object: HostObject): boolean;
  /** Before the first state: whatever is there already was made under a ledger that is lost, and stays until it is listed and then dropped. */
  keep(present: readonly HostObject[]): void;
  /**
   * Takes a desired state: durable when it returns true. False when it is older than what the ledger has. A new epoch (the control plane
   * was restored from a backup) replaces the state, and nothing on the host is removed that it has never listed: `present` is kept.
   */
  accept(epoch: string, state: DesiredState, present: readonly HostObject[]): Promise<boolean>;
}

const emptyState: DesiredState = { generation: 0, networks: [], volumes: [], instances: [], transfers: [] };

/**
 * Opens the host's ledger. A damaged one goes to the quarantine, and nothing is desired until the control plane says it anew. Raises Problem
 * internal when it is of another version.
 */
export async function openLedger(path: string, quarantine: Quarantine): Promise<Ledger> {
  let { epoch, state, kept } = await takeLedger(path, quarantine);
  return {
    get epoch() {
      return epoch;
    },
    get state() {
      return state;
    },
    get told() {
      return epoch !== null;
    },
    get kept() {
      return kept;
    },
    keep: (present) => {
      if (epoch === null) kept = [...new Set([...kept, ...present.map(objectId)])];
    },
    mayRemove: (object) => !kept.includes(objectId(object)),
    accept: async (newEpoch, newState, present) => {
      if (newEpoch === epoch && newState.generation < state.generation) return false;
      const listed = new Set(objectsOf(newState).map(objectId));
      const candidates =
        epoch === null || newEpoch === epoch ? kept : [...kept, ...present.map(objectId), ...objectsOf(state).map(objectId)];
      const stillKept = [...new Set(candidates)].filter((id) => !listed.has(id));
      const file: LedgerFile = { version: 1, epoch: newEpoch, state: newState, kept: stillKept };
      await writeJsonAtomic(path, file);
      epoch = newEpoch;
      state = newState;
      kept = stillKept;
      return true;
    },
  };
}

const nothing: LedgerFile = { version: 1, epoch: null, state: emptyState, kept: [] };

/** What stands in a ledger, without moving or writing anything. Raises Problem internal for damage, and for another version. */
export async function readLedger(path: string): Promise<Pick<Ledger, 'epoch' | 'state'>> {
  const content = await readJson(path);
  if (content === undefined) return nothing;
  const file = ledgerFrom(content, path);
  if (file === undefined) throw new Problem('internal', `${path} has not the form of a ledger`);
  return file;
}

async function takeLedger(path: string, quarantine: Quarantine): Promise<LedgerFile> {
  const read = await readJsonOrQuarantine(path, quarantine);
  if (read.type !== 'content') return nothing;
  const file = ledgerFrom(read.content, path);
  if (file === undefined) await quarantine.move(path, `${path} has not the form of a ledger`);
  return file ?? nothing;
}

/** Undefined for what has not the form of a ledger. */
function ledgerFrom(content: unknown, path: string): LedgerFile | undefined {
  const file = (typeof content === 'object' ? content : null) as Partial<LedgerFile> | null;
  if (typeof file?.version === 'number' && file.version !== 1)
    throw new Problem('internal', `${path} was written by another version of the agent. Run the agent that wrote it.`);
  if (file?.version !== 1 || !Check(DesiredState, file.state) || !Array.isArray(file.kept)) return undefined;
  return { version: 1, epoch: file.epoch ?? null, state: file.state, kept: file.kept };
}
