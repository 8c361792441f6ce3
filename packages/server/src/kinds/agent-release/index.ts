/** Agent release: the tarball of an agent, in the artifact store, and what it says that it is. Hosts are told to run it by their own action. */
import { type AgentReleaseSpec, agentRelease, Problem, toProblem } from '@virt8ra/contract';
import type { Outcome } from '@virt8ra/engine';
import type { ArtifactStore } from '../../artifacts/artifact-store.js';
import type { StoreReader } from '../../resources/store.js';
import type { StoredResource } from '../../resources/stored-resource.js';
import type { KindBehaviour } from '../behaviour.js';
import type { KindContext } from '../context.js';

interface AgentReleaseStatus {
  phase?: 'waiting-for-content' | 'receiving' | 'ready' | 'refused';
  receivedBytes?: number;
  totalBytes?: number;
  version?: string;
  architecture?: 'amd64' | 'arm64';
}

type Release = StoredResource<AgentReleaseSpec, AgentReleaseStatus>;

/** More than anybody keeps. */
const releasesMost = 1000;

export function createAgentReleaseBehaviour(
  context: Pick<KindContext, 'store'>,
  artifacts: Pick<ArtifactStore, 'received' | 'acceptRelease' | 'discard'>,
): KindBehaviour<AgentReleaseSpec, AgentReleaseStatus> {
  return {
    kind: agentRelease,
    async admitPut(_tx, { address, next, previous }) {
      if (previous?.status.phase === 'refused')
        throw new Problem('conflict', `agent release ${address.name} was refused; delete it and make another`);
      if (previous !== undefined) return { outcome: previous.status.phase === 'ready' ? 'active' : 'creating' };
      return {
        outcome: 'creating',
        status: { phase: 'waiting-for-content', receivedBytes: 0, totalBytes: next.spec.upload.sizeBytes },
        reason: 'WaitingForContent',
      };
    },
    reconcile: async (resource) => await reconcileRelease(context, artifacts, resource),
    async present(_reader, resources) {
      return await Promise.all(
        resources.map(async ({ uid, status: { phase } }) => {
          if (phase !== 'waiting-for-content') return {};
          const offset = (await artifacts.received(uid))?.offset ?? 0;
          return { receivedBytes: offset, ...(offset > 0 ? { phase: 'receiving' as const } : {}) };
        }),
      );
    },
  };
}

async function reconcileRelease(
  { store }: Pick<KindContext, 'store'>,
  artifacts: Pick<ArtifactStore, 'received' | 'acceptRelease' | 'discard'>,
  { uid, status, deletedAt }: Release,
): Promise<Outcome> {
  if (deletedAt !== undefined) {
    await artifacts.discard(uid);
    await store.transaction(async (tx) => await tx.remove(uid));
    return { gone: true };
  }
  if (status.phase === 'ready' || status.phase === 'refused') {
    await artifacts.discard(uid);
    return { done: true };
  }
  if ((await artifacts.received(uid))?.complete !== true) return { done: true, reason: 'waiting for content' };
  const verdict = await artifacts.acceptRelease(uid).catch((error: unknown) => {
    const problem = toProblem(error);
    if (problem.kind !== 'validation') throw problem;
    return problem;
  });
  await store.transaction(async (tx) => {
    if ((await tx.lock(uid))?.deletedAt !== undefined) return;
    if (verdict instanceof Problem) {
      const { message } = verdict;
      await tx.setStatus(uid, { phase: 'refused' }, { state: 'error', type: 'Refused', reason: 'Refused', message });
      return;
    }
    const { version, architecture, fileBytes } = verdict;
    await tx.setStatus(uid, { phase: 'ready', version, architecture, receivedBytes: fileBytes }, { state: 'active' });
  });
  await artifacts.discard(uid);
  return { done: true };
}

/** The newest release of a version for an architecture. Raises `validation` when there is none that is ready. */
export async function findAgentRelease(
  reader: Pick<StoreReader, 'list'>,
  version: string,
  architecture: string,
): Promise<{ readonly sha256: string; readonly bytes: number }> {
  const { items } = await reader.list<AgentReleaseSpec, AgentReleaseStatus>(
    agentRelease,
    {},
    { selector: [], limit: releasesMost, after: undefined },
  );
  const ready = items.filter(({ status, deletedAt }) => status.phase === 'ready' && deletedAt === undefined);
  const [found] = ready
    .filter(({ status }) => status.version === version && status.architecture === architecture)
    .toSorted((left, right) => (left.createdAt < right.createdAt ? 1 : -1));
  if (found !== undefined) return { sha256: found.spec.upload.sha256, bytes: found.spec.upload.sizeBytes };
  const known = ready.map(({ status }) => `${status.version} (${status.architecture})`);
  throw new Problem(
    'validation',
    `there is no agent release ${version} for ${architecture}; there is ${known.length === 0 ? 'none' : known.join(', ')}. Bring it in: virt8ra release add FILE`,
    { sources: [{ pointer: '/version' }] },
  );
}
