import { type Static, Type } from 'typebox';
import { defineKind } from '../kind.js';
import { Name, oneOf, statusShape, Timestamp } from '../shape.js';

/** What changes are called on the change feed. */
export const eventTypes = ['put', 'status', 'placement', 'deleted', 'progress'] as const;
export type EventType = (typeof eventTypes)[number];

/** Of one tenant. */
export const webhooksOfTenant = 20;
/** The newest that a webhook's status tells. */
export const deliveriesKept = 20;

const Problem = Type.String({ maxLength: 512 });
const EventId = Type.String({ minLength: 1, maxLength: 96 });

const Delivery = Type.Object({
  /** The header `webhook-id`. */
  id: EventId,
  type: Type.String({ maxLength: 96 }),
  ref: Type.Optional(Type.String({ maxLength: 1024 })),
  at: Timestamp,
  attempts: Type.Integer(),
  delivered: Type.Boolean(),
  /** HTTP status of the last answer; absent: there was none. */
  answer: Type.Optional(Type.Integer()),
  milliseconds: Type.Integer(),
  problem: Type.Optional(Problem),
});
export type WebhookDelivery = Static<typeof Delivery>;

/**
 * Delivers changes to a receiver over HTTPS, signed, at least once, those of a resource in order. It tells what its owner may read: whoever put it
 * last. Secrets never stand in it: POST `secret` gives a new one.
 */
export const webhook = defineKind({
  kind: 'webhook',
  provider: 'virt8ra.events',
  version: 'v1beta1',
  collection: 'webhooks',
  scope: 'tenant',
  // A receiver's URL is not for everybody who looks after workspaces.
  regional: false,
  actions: ['secret', 'test', 'resume', 'redeliver'],
  answers: {
    secret: Type.Object({ secret: Type.String(), previousUntil: Timestamp }),
    test: Type.Object({ id: EventId }),
    redeliver: Type.Object({ id: EventId }),
  },
  actionBodies: {
    secret: Type.Object(
      {
        /** Absent: a new one is made. */
        secret: Type.Optional(Type.String({ pattern: '^whsec_[A-Za-z0-9+/]{32,88}={0,2}$' })),
        /** Seconds that the one before still signs as well. Default a day. */
        overlapSeconds: Type.Optional(Type.Integer({ minimum: 0, maximum: 7 * 24 * 3600 })),
      },
      { additionalProperties: false },
    ),
    resume: Type.Object(
      {
        /** Where it goes on: where it stands (default), or with what comes from now on. */
        from: Type.Optional(oneOf(['position', 'now'])),
        /** True: from now on it has the eyes of whoever says so. */
        own: Type.Optional(Type.Boolean()),
      },
      { additionalProperties: false },
    ),
    redeliver: Type.Object({ id: EventId }, { additionalProperties: false }),
  },
  summary: 'a receiver of changes',
  spec: Type.Object(
    {
      /** https; http where the operator allows it. No user or password: it is stored and shown. */
      url: Type.String({ minLength: 8, maxLength: 2048 }),
      /** Default true. A webhook that is off keeps its position. */
      enabled: Type.Optional(Type.Boolean()),
      /** Kinds of resources. Absent: all. */
      kinds: Type.Optional(Type.Array(Name, { minItems: 1, maxItems: 64, uniqueItems: true })),
      /** Absent: all but `progress`. */
      types: Type.Optional(Type.Array(oneOf(eventTypes), { minItems: 1, maxItems: 5, uniqueItems: true })),
      /** What is in these workspaces, and they themselves. Absent: the whole tenant, and what has none. */
      workspaces: Type.Optional(Type.Array(Name, { minItems: 1, maxItems: 64, uniqueItems: true })),
      /** A label selector. */
      labels: Type.Optional(Type.String({ maxLength: 4096 })),
    },
    { additionalProperties: false },
  ),
  status: statusShape({
    /** Whose eyes it has. */
    owner: Type.Optional(Type.String({ maxLength: 256 })),
    secret: Type.Optional(Type.Object({ since: Timestamp, previousUntil: Type.Optional(Timestamp) })),
    /** Everything up to here was delivered or is not for it; a cursor of the change feed. */
    position: Type.Optional(Type.String({ maxLength: 64 })),
    /** The change that waits to be delivered, and since when. */
    pending: Type.Optional(Type.Object({ id: EventId, since: Timestamp })),
    lastDeliveredAt: Type.Optional(Timestamp),
    lastAttempt: Type.Optional(Type.Object({ at: Timestamp, answer: Type.Optional(Type.Integer()), problem: Type.Optional(Problem) })),
    /** In a row. */
    failures: Type.Optional(Type.Integer()),
    failingSince: Type.Optional(Timestamp),
    nextAttemptAt: Type.Optional(Timestamp),
    suspended: Type.Optional(Type.Object({ since: Timestamp, why: Problem })),
    /** Newest first. */
    deliveries: Type.Optional(Type.Array(Delivery)),
  }),
});
export type WebhookSpec = Static<typeof webhook.spec>;
