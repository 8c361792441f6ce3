import { type Static, Type } from 'typebox';
import { oneOf, Sha256 } from '../shape.js';

/** Which release of the agent runs on a host: told in the desired state, reported with the inventory. Only for agents with feature `update`. */

export const ReleaseVersion = Type.String({ minLength: 1, maxLength: 64, pattern: '^[0-9A-Za-z][0-9A-Za-z.+~-]*$' });

/** How long a release on trial has, seconds, unless the order says otherwise. */
export const defaultTrialSeconds = 180;
export const TrialSeconds = Type.Integer({ minimum: 5, maximum: 3600 });

/**
 * An order to run a release. The agent fetches it as it fetches images, verifies the digest and lets it run on trial: it must have taken over a desired
 * state within `trialSeconds`, else the release before it runs again.
 */
export const DesiredAgentRelease = Type.Object(
  {
    /** Each order is carried out once, whatever comes of it. */
    order: Type.String({ minLength: 1, maxLength: 64, pattern: '^[0-9A-Za-z_-]+$' }),
    version: ReleaseVersion,
    sha256: Sha256,
    bytes: Type.Integer({ minimum: 1 }),
    trialSeconds: TrialSeconds,
  },
  { additionalProperties: false },
);
export type DesiredAgentRelease = Static<typeof DesiredAgentRelease>;

const Trouble = Type.Object({ code: Type.String({ maxLength: 64 }), message: Type.String({ maxLength: 4096 }) });

/** `fetching` and `checking`: the release before it runs. `trying`: it runs and has not proven itself. */
export const agentReleasePhases = ['fetching', 'checking', 'trying', 'done', 'failed'] as const;
export const AgentReleaseFacts = Type.Object({
  /** What runs, and since when it is the one to run; `installed` is the host's own package. */
  running: Type.Object({ version: Type.String(), release: Type.String(), since: Type.Optional(Type.String()) }),
  /** What would run if it failed to start. */
  previous: Type.Optional(Type.Object({ version: Type.String(), release: Type.String() })),
  /** The newest order. `problem`: why it failed, or why it waits. */
  order: Type.Optional(
    Type.Object({
      order: Type.String(),
      version: Type.String(),
      phase: oneOf(agentReleasePhases),
      at: Type.String(),
      problem: Type.Optional(Trouble),
    }),
  ),
  lastFailed: Type.Optional(Type.Object({ version: Type.String(), at: Type.String(), problem: Trouble })),
});
export type AgentReleaseFacts = Static<typeof AgentReleaseFacts>;
