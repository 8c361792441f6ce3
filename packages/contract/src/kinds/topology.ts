import { type Static, Type } from 'typebox';
import { HostFinding } from '../agent/observed.js';
import { agentReleasePhases, ReleaseVersion, TrialSeconds } from '../agent/release.js';
import { defineKind } from '../kind.js';
import { Name, observedShape, oneOf, Reference, statusShape, Timestamp, Zone } from '../shape.js';

const topology = { provider: 'virt8ra.topology', version: 'v1beta1', scope: 'global', regional: false } as const;

/** Country codes are ISO 3166-1 alpha-2. */
const Country = Type.String({ pattern: '^[A-Z]{2}$' });

/** An organisation that sells capacity. Its legal seat decides which law binds it. */
export const provider = defineKind({
  ...topology,
  kind: 'provider',
  collection: 'providers',
  summary: 'an organisation that sells capacity',
  spec: Type.Object({ displayName: Type.String({ minLength: 1, maxLength: 128 }), legalSeat: Country }, { additionalProperties: false }),
  status: statusShape({}),
});

/** What a driver is told beside its name: everybody reads it, it is no place for secrets. */
const Settings = Type.Record(Type.String({ pattern: '^[a-zA-Z][a-zA-Z0-9]{0,63}$' }), Type.String({ maxLength: 2048 }), {
  maxProperties: 32,
});

/** Sent with POST `credentials`: all of them, in place of those before. */
export const AccountCredentialsRequest = Type.Object(
  {
    values: Type.Record(Type.String({ pattern: '^[a-zA-Z][a-zA-Z0-9]{0,63}$' }), Type.String({ maxLength: 16384 }), { maxProperties: 32 }),
  },
  { additionalProperties: false },
);

/**
 * Endpoint and credentials at a provider, through one driver. Credentials never stand in it: POST `credentials` gives them, and nobody is told them
 * again.
 */
export const account = defineKind({
  ...topology,
  kind: 'account',
  collection: 'accounts',
  aliases: ['accounts'],
  immutable: ['/driver', '/providerRef'],
  actions: ['credentials'],
  actionBodies: { credentials: AccountCredentialsRequest },
  summary: 'our access to a provider through one driver',
  spec: Type.Object(
    { providerRef: Reference, driver: Type.String({ minLength: 1, maxLength: 64 }), settings: Type.Optional(Settings) },
    { additionalProperties: false },
  ),
  status: statusShape({
    /** What its driver declares, for each thing a provider can do: `reason` says why not. */
    facets: Type.Optional(
      Type.Array(Type.Object({ name: Type.String(), supported: Type.Boolean(), reason: Type.Optional(Type.String({ maxLength: 1024 })) })),
    ),
    /** Whether it could be used at the last look; `reason` says what is wrong with which of its sites. Absent while it has none. */
    healthy: Type.Optional(
      Type.Object({ ...observedShape(Type.Boolean()).properties, reason: Type.Optional(Type.String({ maxLength: 32768 })) }),
    ),
    /** Given last; absent: it has none. */
    credentials: Type.Optional(Type.Object({ since: Timestamp })),
  }),
});

export const siteTiers = ['tower', 'edge', 'regional', 'core'] as const;

/** A place. Its name is a legal SECA zone (≤ 32 characters, never `any`). */
export const site = defineKind({
  ...topology,
  kind: 'site',
  collection: 'sites',
  aliases: ['zone', 'zones'],
  immutable: ['/accountRef'],
  summary: 'a place where instances run',
  spec: Type.Object(
    {
      accountRef: Reference,
      country: Country,
      jurisdiction: Type.Optional(Type.String({ maxLength: 64 })),
      coordinates: Type.Optional(
        Type.Object(
          { latitude: Type.Number({ minimum: -90, maximum: 90 }), longitude: Type.Number({ minimum: -180, maximum: 180 }) },
          { additionalProperties: false },
        ),
      ),
      tier: oneOf(siteTiers),
      /** What public IPs of this site are taken from: addresses, or ranges in CIDR notation of which every address counts. */
      publicAddresses: Type.Optional(Type.Array(Type.String({ minLength: 2, maxLength: 43 }), { maxItems: 64 })),
      displayName: Type.Optional(Type.String({ maxLength: 128 })),
      /** What its provider takes for each GB (10^9 bytes) that leaves it. Absent: not known; forecasts of moves say so. */
      egressPrice: Type.Optional(
        Type.Object(
          { perGB: Type.Number({ minimum: 0 }), currency: Type.String({ pattern: '^[A-Z]{3}$' }) },
          { additionalProperties: false },
        ),
      ),
      /** What the operator tells the guests of this site through cloud-init, beneath their own user data. Everybody reads it: no place for secrets. */
      vendorData: Type.Optional(Type.String({ minLength: 1, maxLength: 16384 })),
      /** Over those of the account. */
      settings: Type.Optional(Settings),
    },
    { additionalProperties: false },
  ),
  status: statusShape({
    reachable: Type.Optional(observedShape(Type.Boolean())),
    hosts: Type.Optional(Type.Integer({ minimum: 0 })),
    capacity: Type.Optional(
      Type.Object({
        vCPU: Type.Integer(),
        vCPUFree: Type.Integer(),
        memoryMiB: Type.Integer(),
        memoryMiBFree: Type.Integer(),
        storageGB: Type.Integer(),
        storageGBFree: Type.Integer(),
        /** Hardware threads, and MiB in huge pages, that hosts have set apart for single guests; each absent where there are none. */
        dedicatedCPU: Type.Optional(Type.Integer()),
        dedicatedCPUFree: Type.Optional(Type.Integer()),
        huge2Mi: Type.Optional(Type.Integer()),
        huge2MiFree: Type.Optional(Type.Integer()),
        huge1Gi: Type.Optional(Type.Integer()),
        huge1GiFree: Type.Optional(Type.Integer()),
      }),
    ),
    architectures: Type.Optional(Type.Array(Type.String())),
    /** PCI devices that hosts give to guests, by vendor and device id, and how many of them nobody has; absent where there are none. */
    pciDevices: Type.Optional(
      Type.Array(
        Type.Object({
          id: Type.String(),
          name: Type.Optional(Type.String()),
          gpu: Type.Optional(Type.Object({ vendor: Type.String(), model: Type.String(), ram: Type.Integer() })),
          count: Type.Integer(),
          free: Type.Integer(),
        }),
      ),
    ),
    /** Of its public addresses, those that a public IP holds; absent where it has none to give. */
    publicAddressesTaken: Type.Optional(Type.Integer({ minimum: 0 })),
  }),
});
export type SiteSpec = Static<typeof site.spec>;

/**
 * How a drain moves what runs: `auto` takes the gentlest way, live where the hosts are alike, else warm. `live` and `warm`: in that way or not at
 * all. Instances that are off are always moved as they are.
 */
export const drainModes = ['auto', 'live', 'warm', 'cold'] as const;

/** Sent with POST `drain` and `drain-plan`. */
export const DrainRequest = Type.Object(
  {
    /** Default `auto`. */
    mode: Type.Optional(oneOf(drainModes)),
    /** Consent to stop instances that cannot be moved while they run; `cold` is that consent, too. Default false. */
    allowCold: Type.Optional(Type.Boolean()),
    /** Moves at once. Default 2. */
    parallel: Type.Optional(Type.Integer({ minimum: 1, maximum: 16 })),
    reason: Type.Optional(Type.String({ minLength: 1, maxLength: 256 })),
  },
  { additionalProperties: false },
);
export type DrainRequest = Static<typeof DrainRequest>;

/** Sent with POST `cordon`: shown wherever placement says why it passes the host by. */
export const CordonRequest = Type.Object(
  { reason: Type.Optional(Type.String({ minLength: 1, maxLength: 256 })) },
  { additionalProperties: false },
);
export type CordonRequest = Static<typeof CordonRequest>;

export const drainPhases = ['draining', 'cancelling', 'drained', 'incomplete', 'cancelled'] as const;

/** How far a drain is. Instances are counted only: everybody reads hosts; POST `drain-plan` names them to the operator. */
export const HostDrain = Type.Object({
  /** `incomplete`: all that can be moved has been; `drain-plan` says why the rest stays. */
  phase: oneOf(drainPhases),
  run: Type.String(),
  mode: oneOf(drainModes),
  allowCold: Type.Boolean(),
  parallel: Type.Integer(),
  startedAt: Type.String(),
  finishedAt: Type.Optional(Type.String()),
  moved: Type.Integer({ minimum: 0 }),
  moving: Type.Integer({ minimum: 0 }),
  /** For their turn, or for something that passes by itself. */
  waiting: Type.Integer({ minimum: 0 }),
  blocked: Type.Integer({ minimum: 0 }),
});
export type HostDrain = Static<typeof HostDrain>;

/** Answer of POST `hosts/NAME/drain-plan`: what a drain would do now, or is doing, with each instance. References are URNs. */
export const DrainPlan = Type.Object({
  instances: Type.Array(
    Type.Object({
      instance: Type.String(),
      /**
       * `moves`: as soon as it is its turn; a `reason` says why not more gently. `waits`: for what passes by itself. `stays`: cannot be moved, `reason`
       * says why.
       */
      outlook: oneOf(['moves', 'moving', 'waits', 'stays']),
      mode: Type.Optional(Type.String()),
      to: Type.Optional(Type.Object({ site: Zone, host: Type.String() })),
      migration: Type.Optional(Type.String()),
      reason: Type.Optional(Type.String()),
    }),
  ),
  /** Disks that no instance uses: they stay, and do no harm to a restart of the host. */
  blockStorages: Type.Array(Type.String()),
});
export type DrainPlan = Static<typeof DrainPlan>;

/** Sent with POST `update`. */
export const UpdateRequest = Type.Object(
  {
    /** Of an agent release that is ready, for the host's architecture. */
    version: ReleaseVersion,
    /** How long the new agent has to link and take over what is desired. Default 180. */
    trialSeconds: Type.Optional(TrialSeconds),
  },
  { additionalProperties: false },
);
export type UpdateRequest = Static<typeof UpdateRequest>;

const UpdateProblem = Type.Object({ code: Type.String(), message: Type.String() });

/**
 * The newest order to update a host's agent. `waiting`: its agent has not taken it up. Other phases are the agent's own words, as of `observedAt`.
 * `problem`: why it failed, or what it waits for.
 */
export const HostUpdate = Type.Object({
  order: Type.String(),
  version: Type.String(),
  orderedAt: Type.String(),
  phase: oneOf(['waiting', ...agentReleasePhases]),
  /** When the agent came to this phase. */
  at: Type.Optional(Type.String()),
  observedAt: Type.Optional(Type.String()),
  problem: Type.Optional(UpdateProblem),
});
export type HostUpdate = Static<typeof HostUpdate>;

/** Answer of POST `hosts/NAME/enrol`. */
export const Enrolment = Type.Object({
  token: Type.String(),
  expiresAt: Type.String(),
  /** `https://host:port` of the agents' listener. */
  url: Type.String(),
  /** SHA-256 of the control plane CA certificate (DER), hex: the agent trusts nothing else. */
  caSha256: Type.String(),
  host: Name,
  site: Zone,
});
export type Enrolment = Static<typeof Enrolment>;

/**
 * One physical machine at a site. POST `enrol` answers 200 with a single-use token for its agent, `drain-plan` with a `DrainPlan`. `cordon`:
 * placement puts nothing new there. `drain` cordons it and moves everything off; `cancel` ends that. `maintenance` tells the agent of a host
 * without instances to start none. `uncordon` ends all of it. `rekey` has the agent change the key of its tunnels,
 * `update` has it give way to another release of itself.
 */
export const host = defineKind({
  ...topology,
  kind: 'host',
  collection: 'hosts',
  immutable: ['/siteRef'],
  actions: ['enrol', 'cordon', 'uncordon', 'drain', 'drain-plan', 'cancel', 'maintenance', 'rekey', 'update'],
  actionBodies: { cordon: CordonRequest, drain: DrainRequest, 'drain-plan': DrainRequest, update: UpdateRequest },
  answers: { enrol: Enrolment, 'drain-plan': DrainPlan, update: Type.Object({ order: Type.String() }) },
  summary: 'a physical machine at a site',
  spec: Type.Object({ siteRef: Reference }, { additionalProperties: false }),
  status: statusShape({
    connected: Type.Optional(observedShape(Type.Boolean())),
    cordoned: Type.Optional(Type.Boolean()),
    cordonReason: Type.Optional(Type.String()),
    drain: Type.Optional(HostDrain),
    /** Whether the agent keeps guests from starting, as it says itself; absent when neither it nor the operator speaks of it. */
    maintenance: Type.Optional(observedShape(Type.Boolean())),
    /** What runs there; `previousAgentVersion` would run if it failed to start. */
    agentVersion: Type.Optional(Type.String()),
    previousAgentVersion: Type.Optional(Type.String()),
    agentSince: Type.Optional(Type.String()),
    update: Type.Optional(HostUpdate),
    lastFailedUpdate: Type.Optional(Type.Object({ version: Type.String(), at: Type.String(), problem: UpdateProblem })),
    inventory: Type.Optional(Type.Unknown()),
    /** What a person should know of it, each with how to mend it. */
    findings: Type.Optional(Type.Array(HostFinding)),
    instances: Type.Optional(Type.Integer({ minimum: 0 })),
  }),
});
export type HostSpec = Static<typeof host.spec>;
