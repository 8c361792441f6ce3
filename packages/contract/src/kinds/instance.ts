import { type Static, Type } from 'typebox';
import { GuestFacts } from '../agent/guest-facts.js';
import { Difference, instanceEnds, volumeAttachmentStates } from '../agent/observed.js';
import { defineKind } from '../kind.js';
import { observedShape, oneOf, Placement, Reference, statusShape, Timestamp, Zone } from '../shape.js';

const VolumeReference = Type.Object({ deviceRef: Reference, type: Type.Optional(Type.Literal('virtio')) }, { additionalProperties: false });

/** Sent with POST `rescue`: the image to boot from; absent: the one that its boot volume was made from. */
export const RescueRequest = Type.Object({ imageRef: Type.Optional(Reference) }, { additionalProperties: false });
export type RescueRequest = Static<typeof RescueRequest>;

/** `preparing`: its image is being brought to the host. `starting`: its guest is restarted. `running`: seen so. `ending`: its own boot disk comes back. */
export const rescuePhases = ['preparing', 'starting', 'running', 'ending'] as const;

export const instanceActivities = ['running', 'stopped', 'starting', 'stopping', 'paused', 'crashed', 'moving', 'unknown'] as const;

/**
 * SECA instance. `spec.zone` is the caller's and is never rewritten; where it runs is `status.placement`. SECA's `powerState` knows only
 * on and off: `status.activity` carries what was really seen, `unknown` included, with source and time.
 * Another `skuRef` applies at the guest's next start, be it by `restart`; its host must have room for it.
 * POST `rescue` restarts it from an image, with its own block storages as they are beside that; `end-rescue` gives it its own boot volume back.
 * Instances of one workspace with the same `antiAffinityGroup` never share a host, wherever they go.
 * The extension `virt8ra.access` (comma-separated TCP ports) asks for access endpoints that follow the instance, `virt8ra.restart` (a
 * restart policy) and `virt8ra.stop-seconds` say what its host does when it ends by itself, and how long a stop waits for it.
 */
export const instance = defineKind({
  kind: 'instance',
  provider: 'seca.compute',
  version: 'v1',
  collection: 'instances',
  scope: 'workspace',
  aliases: ['vm', 'vms'],
  actions: ['start', 'stop', 'restart', 'rescue', 'end-rescue'],
  actionBodies: { rescue: RescueRequest },
  immutable: ['/zone', '/bootVolume/deviceRef'],
  summary: 'a virtual machine',
  spec: Type.Object(
    {
      zone: Zone,
      skuRef: Reference,
      bootVolume: VolumeReference,
      dataVolumes: Type.Optional(Type.Array(VolumeReference, { maxItems: 64 })),
      primaryNicRef: Type.Optional(Reference),
      additionalNicRefs: Type.Optional(Type.Array(Reference, { maxItems: 16 })),
      securityGroupRef: Type.Optional(Reference),
      antiAffinityGroup: Type.Optional(Type.String({ maxLength: 64 })),
      sshKeys: Type.Optional(Type.Array(Type.String({ minLength: 1, maxLength: 4096 }), { maxItems: 32 })),
      userData: Type.Optional(Type.String({ maxLength: 65536 })),
    },
    { additionalProperties: false },
  ),
  status: statusShape({
    powerState: Type.Union([Type.Literal('on'), Type.Literal('off')]),
    powerStateSince: Type.Optional(Timestamp),
    activity: Type.Optional(observedShape(oneOf(instanceActivities))),
    placement: Type.Optional(Placement),
    addresses: Type.Optional(Type.Array(Type.String())),
    /** Stable TCP endpoints: `port` of the guest is reached at `address`. */
    access: Type.Optional(Type.Array(Type.Object({ port: Type.Integer(), address: Type.String() }))),
    accelerator: Type.Optional(Type.String()),
    /** Ids of the PCI devices of its host that the running guest has for itself, one for each, as seen. */
    pciDevices: Type.Optional(Type.Array(Type.String())),
    /** What the agent inside its running guest tells of it: the guest's word. Its source ends with `/guest`. */
    guest: Type.Optional(observedShape(GuestFacts)),
    /** It boots, or is about to boot, from an image instead of its boot volume; absent: it does not. */
    rescue: Type.Optional(Type.Object({ imageRef: Reference, phase: oneOf(rescuePhases), since: Timestamp })),
    /** How it ended last. */
    lastEnd: Type.Optional(Type.Object({ at: Timestamp, how: oneOf(instanceEnds) })),
    /** What its guest has that is not what is wanted now; a restart brings it. */
    differences: Type.Optional(Type.Array(Difference)),
    /**
     * Block storages that the running guest has or should have. `detaching`: it is asked to let go of it and has it still. `reason`: what is in the way.
     */
    volumes: Type.Optional(
      Type.Array(
        Type.Object({
          deviceRef: Reference,
          state: oneOf(volumeAttachmentStates),
          reason: Type.Optional(Type.String({ maxLength: 1024 })),
          /** Limits in force: operations and bytes in a second. */
          iops: Type.Optional(Type.Integer()),
          bytesPerSecond: Type.Optional(Type.Integer()),
        }),
      ),
    ),
  }),
});
export type InstanceSpec = Static<typeof instance.spec>;
export type InstanceActivity = (typeof instanceActivities)[number];
