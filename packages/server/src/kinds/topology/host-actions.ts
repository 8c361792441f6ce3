import { randomUUID } from 'node:crypto';
import {
  type CordonRequest,
  type DrainPlan,
  type DrainRequest,
  defaultTrialSeconds,
  type HostSpec,
  host,
  Problem,
  type UpdateRequest,
} from '@virt8ra/contract';
import type { Workflow } from '@virt8ra/engine';
import type { Fleet } from '../../fleet/fleet.js';
import type { StoreTransaction } from '../../resources/store.js';
import type { StoredResource } from '../../resources/stored-resource.js';
import { findAgentRelease } from '../agent-release/index.js';
import type { KindBehaviour } from '../behaviour.js';
import type { KindContext } from '../context.js';
import { assertWindowClosed, waysBackTo } from '../moving.js';
import { type DrainInput, drainPlanOf, forgetMoves, isDraining, movesOfRun, surveyHost, wishOf } from './drain/index.js';
import type { HostResourceStatus } from './host-status.js';

type Host = StoredResource<HostSpec, HostResourceStatus>;
type Actions = NonNullable<KindBehaviour<HostSpec, HostResourceStatus>['actions']>;

/** What an operator asks of a host: to be spared, emptied, left alone, and used again. */
export function createHostActions(
  fleet: Pick<Fleet, 'createEnrolment' | 'hostStatus' | 'orderRelease' | 'rotateTunnelKey' | 'setMaintenance'>,
  context: KindContext,
  drain: Workflow<DrainInput, unknown>,
): Actions {
  return {
    async enrol(tx, { uid, address }) {
      return await fleet.createEnrolment(address.name, await siteOf(tx, uid), tx.client);
    },

    async rekey(tx, { address }) {
      await fleet.rotateTunnelKey(address.name, tx.client);
    },

    async update(tx, { address }, _subject, body) {
      const { version, trialSeconds = defaultTrialSeconds } = body as UpdateRequest;
      const [seen] = await fleet.hostStatus([address.name]);
      const architecture = seen?.inventory?.architecture;
      if (architecture === undefined)
        throw new Problem('unsupported', `host ${address.name} has never told what it is; its agent must have been connected once`);
      const release = await findAgentRelease(tx, version, architecture);
      const orderedAt = context.now().toISOString();
      const order = randomUUID();
      await fleet.orderRelease(address.name, { order, version, ...release, trialSeconds, orderedAt }, tx.client);
      return { order };
    },

    async cordon(tx, { uid }, _subject, body) {
      const { reason } = body as CordonRequest;
      await tx.setStatus(uid, { cordoned: true, ...(reason === undefined ? {} : { cordonReason: reason }) });
    },

    async uncordon(tx, resource) {
      assertNotDraining(resource);
      await fleet.setMaintenance(resource.address.name, false, tx.client);
      await tx.setStatus(resource.uid, { cordoned: undefined, cordonReason: undefined, drain: undefined });
    },

    async drain(tx, resource, subject, body) {
      const { uid, address, status } = resource;
      const request = body as DrainRequest;
      const wish = wishOf(request);
      const before = status.drain;
      if (before !== undefined && isDraining(resource)) {
        const { mode, allowCold, parallel } = before;
        const same = mode === wish.mode && allowCold === wish.allowCold && parallel === wish.parallel;
        if (same && before.phase === 'draining') return;
        throw new Problem(
          'conflict',
          `host ${address.name} is being drained in another way; cancel that first: virt8ra cancel host/${address.name}`,
        );
      }
      if (before !== undefined) await forgetMoves(tx.client, before.run);
      const input = {
        uid,
        host: address.name,
        site: await siteOf(tx, uid),
        wish,
        subject: { name: subject.name, remote: subject.remote },
      };
      const run = await context.runner.start(drain, { subject: subjectOf(resource), input }, tx.client);
      const counts = { moved: 0, moving: 0, waiting: 0, blocked: 0 };
      await tx.setStatus(uid, {
        cordoned: true,
        cordonReason: request.reason ?? status.cordonReason ?? 'for a drain',
        drain: { phase: 'draining', run, ...wish, startedAt: context.now().toISOString(), ...counts },
      });
    },

    async cancel(tx, resource) {
      const { uid, address, status } = resource;
      if (status.drain === undefined || !isDraining(resource))
        throw new Problem('conflict', `host ${address.name} is not being drained; there is nothing to cancel`);
      await tx.setStatus(uid, { drain: { ...status.drain, phase: 'cancelling' } });
      await context.runner.nudge(subjectOf(resource), tx.client);
    },

    async 'drain-plan'(tx, resource, _subject, body): Promise<DrainPlan> {
      const { drain: last } = resource.status;
      const asked = Object.keys(body as DrainRequest).length > 0;
      const described = last === undefined || (asked && !isDraining(resource)) ? undefined : last;
      const place = { site: await siteOf(tx, resource.uid), host: resource.address.name };
      const moves = described === undefined ? [] : await movesOfRun(tx.client, described.run);
      const surveyed = await surveyHost(context, place, described ?? wishOf(body as DrainRequest), moves);
      return await drainPlanOf(context, place, surveyed);
    },

    async maintenance(tx, resource) {
      const { uid, address, status } = resource;
      assertNotDraining(resource);
      const instances = new Set(
        (await tx.ledger.onHost(address.name)).flatMap((each) => (each.facet === 'instances' ? [each.resourceUid] : [])),
      );
      if (instances.size > 0)
        throw new Problem(
          'conflict',
          `${instances.size} instances are still on host ${address.name}; drain it first: virt8ra drain ${address.name}`,
        );
      for (const move of await waysBackTo(tx, address.name)) assertWindowClosed(move, 'put the host into maintenance');
      await fleet.setMaintenance(address.name, true, tx.client);
      await tx.setStatus(uid, { cordoned: true, cordonReason: status.cordonReason ?? 'for maintenance' });
    },
  };
}

export function assertNotDraining(resource: Host): void {
  if (!isDraining(resource)) return;
  const { name } = resource.address;
  throw new Problem('conflict', `host ${name} is being drained; wait for its end, or cancel it first: virt8ra cancel host/${name}`);
}

function subjectOf({ uid }: Host): string {
  return `${host.kind}/${uid}`;
}

/** Name of the site a host stands at, by its stored reference. */
export async function siteOf(tx: StoreTransaction, uid: StoredResource['uid']): Promise<string> {
  const references = await tx.referencesOf(uid);
  const [found] = await tx.getManyByUid(references.filter(({ pointer }) => pointer === '/spec/siteRef').map((each) => each.uid));
  if (found === undefined) throw new Problem('conflict', 'the site of this host is gone');
  return found.address.name;
}
