import { DesiredState, Problem } from '@virt8ra/contract';
import { Compile } from 'typebox/compile';
import { readJson, writeJsonAtomic } from '../disk/atomic-file.js';
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
  /** True when the object may be removed once it is absent from the state. */
  mayRemove(object: HostObject): boolean;
  /**
   * Takes a desired state: durable when it returns true. False when it is older than what the ledger has. A new epoch (the control plane
   * was restored from a backup) replaces the state, and nothing on the host is removed that it has never listed: `present` is kept.
   */
  accept(epoch: string, state: DesiredState, present: readonly HostObject[]): Promise<boolean>;
}

const emptyState: DesiredState = { generation: 0, networks: [], volumes: [], instances: [], transfers: [] };

/** Opens the host's ledger. Raises Problem internal when the file is damaged or of another version. */
export async function openLedger(path: string): Promise<Ledger> {
  let { epoch, state, kept } = checkFile(await readJson(path), path);
  return {
    get epoch() {
      return epoch;
    },
    get state() {
      return state;
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

const stateShape = Compile(DesiredState);

function checkFile(content: unknown, path: string): LedgerFile {
  if (content === undefined) return { version: 1, epoch: null, state: emptyState, kept: [] };
  const file = content as Partial<LedgerFile>;
  if (file.version !== 1 || !stateShape.Check(file.state) || !Array.isArray(file.kept)) {
    throw new Problem(
      'internal',
      `${path} is not a ledger of this agent’s version. Run the agent that wrote it, or move the file away to fetch the state anew.`,
    );
  }
  return { version: 1, epoch: file.epoch ?? null, state: file.state, kept: file.kept };
}
