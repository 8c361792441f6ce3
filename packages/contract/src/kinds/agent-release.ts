import { type Static, Type } from 'typebox';
import { ReleaseVersion } from '../agent/release.js';
import { defineKind } from '../kind.js';
import { oneOf, Sha256, statusShape } from '../shape.js';

export const agentReleaseResourcePhases = ['waiting-for-content', 'receiving', 'ready', 'refused'] as const;

/** Largest release that is taken in, bytes. */
export const agentReleaseBytesMost = 1_000_000_000;

/**
 * A release of the agent that hosts may be told to run: the tarball that `npm run package` makes. Its bytes are sent to `…/agent-releases/NAME/content` (PATCH with
 * `upload-offset`, HEAD tells how far it came). What it is says its own description, not the caller.
 */
export const agentRelease = defineKind({
  kind: 'agent-release',
  provider: 'virt8ra.topology',
  version: 'v1beta1',
  collection: 'agent-releases',
  scope: 'global',
  regional: false,
  aliases: ['release', 'releases'],
  immutable: ['/upload'],
  summary: 'a release of the agent that hosts may run',
  spec: Type.Object(
    {
      upload: Type.Object(
        { sizeBytes: Type.Integer({ minimum: 1, maximum: agentReleaseBytesMost }), sha256: Sha256 },
        { additionalProperties: false },
      ),
    },
    { additionalProperties: false },
  ),
  status: statusShape({
    phase: Type.Optional(oneOf(agentReleaseResourcePhases)),
    receivedBytes: Type.Optional(Type.Integer({ minimum: 0 })),
    totalBytes: Type.Optional(Type.Integer({ minimum: 0 })),
    version: Type.Optional(ReleaseVersion),
    architecture: Type.Optional(oneOf(['amd64', 'arm64'])),
  }),
});
export type AgentReleaseSpec = Static<typeof agentRelease.spec>;
