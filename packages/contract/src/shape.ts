import { type Static, type TSchema, Type } from 'typebox';

/** A closed list of words. */
export function oneOf<const Values extends readonly string[]>(values: Values) {
  return Type.Unsafe<Values[number]>(Type.Enum([...values]));
}

/** Shapes every kind shares: SECA's envelope (spec v1.7). Lengths and patterns are SECA's. */

export const namePattern = '^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$';

export const Name = Type.String({ minLength: 1, maxLength: 128, pattern: namePattern });
/** SKU names may be upper case (SECA's catalogues use such names). */
export const SkuName = Type.String({ minLength: 1, maxLength: 128, pattern: '^[A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?$' });
export const Labels = Type.Record(Type.String({ minLength: 1, maxLength: 63 }), Type.String({ maxLength: 63 }), { maxProperties: 64 });
export const Annotations = Type.Record(Type.String({ minLength: 1, maxLength: 128 }), Type.String({ maxLength: 1024 }), {
  maxProperties: 64,
});
export const Extensions = Type.Record(Type.String({ minLength: 1, maxLength: 128 }), Type.String({ maxLength: 1024 }), {
  maxProperties: 64,
});
export const Zone = Type.String({ minLength: 1, maxLength: 32 });
export const Timestamp = Type.String({ minLength: 20, maxLength: 40 });
export const Sha256 = Type.String({ pattern: '^[0-9a-f]{64}$' });

/** A reference as object, the form SECA clients decode. Missing parts are those of the referencing resource. */
export const ReferenceObject = Type.Object(
  {
    resource: Type.String({ minLength: 1, maxLength: 256 }),
    provider: Type.Optional(Type.String({ maxLength: 64 })),
    region: Type.Optional(Type.String({ maxLength: 64 })),
    tenant: Type.Optional(Type.String({ maxLength: 64 })),
    workspace: Type.Optional(Type.String({ maxLength: 64 })),
  },
  { additionalProperties: false },
);
export type ReferenceObject = Static<typeof ReferenceObject>;

/** On input a bare string or an object; the caller's own form is stored and echoed. */
export const Reference = Type.Union([Type.String({ minLength: 1, maxLength: 256 }), ReferenceObject]);
export type Reference = Static<typeof Reference>;

export const states = ['pending', 'creating', 'active', 'updating', 'deleting', 'error'] as const;
export const State = oneOf(states);
export type State = Static<typeof State>;

/** One entry of a resource's history, newest first. `type`, `reason` and `message` say why. */
export const Condition = Type.Object({
  state: State,
  lastTransitionAt: Timestamp,
  type: Type.Optional(Type.String({ maxLength: 64 })),
  /** One word, or several joined by commas or colons. */
  reason: Type.Optional(Type.String({ maxLength: 1024, pattern: '^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$' })),
  message: Type.Optional(Type.String({ maxLength: 32768 })),
});
export interface Condition {
  readonly state: State;
  readonly lastTransitionAt: string;
  readonly type?: string;
  readonly reason?: string;
  readonly message?: string;
}
/** Older conditions beyond this number are dropped (SECA bound). */
export const conditionsKept = 32;

/** A fact as it was seen: never a wish, never a guess. `unknown` values keep the time of the last real observation. */
export function observedShape<Value extends TSchema>(value: Value) {
  return Type.Object({ value, source: Type.String({ maxLength: 128 }), observedAt: Timestamp });
}
export interface Observed<Value> {
  readonly value: Value;
  /** Who saw it, such as `agent/host-1`. */
  readonly source: string;
  readonly observedAt: string;
}

/** Where a resource is and why; changed only by placement, a migration or the owner's PUT. */
export const Placement = Type.Object({
  site: Zone,
  host: Type.Optional(Name),
  cause: Type.Union([Type.Literal('requested'), Type.Literal('placement'), Type.Literal('migration'), Type.Literal('consumer')]),
  reason: Type.String({ maxLength: 1024 }),
  revision: Type.Integer({ minimum: 1 }),
});
export type Placement = Static<typeof Placement>;

export const Cidr = Type.Object(
  { ipv4: Type.Optional(Type.String({ minLength: 9, maxLength: 18 })), ipv6: Type.Optional(Type.String({ minLength: 4, maxLength: 43 })) },
  { additionalProperties: false },
);
export type Cidr = Static<typeof Cidr>;

/** Fields every status has. `extra` are the kind's own. */
export function statusShape<Extra extends Record<string, TSchema>>(extra: Extra) {
  return Type.Object({ state: Type.Optional(State), conditions: Type.Array(Condition, { maxItems: conditionsKept }), ...extra });
}

export interface Metadata {
  readonly name: string;
  readonly provider: string;
  readonly resource: string;
  readonly verb: string;
  readonly apiVersion: string;
  readonly kind: string;
  readonly ref: string;
  readonly createdAt?: string;
  readonly lastModifiedAt?: string;
  readonly deletedAt?: string;
  readonly resourceVersion?: number;
  readonly tenant?: string;
  readonly workspace?: string;
  readonly network?: string;
  readonly region?: string;
}

/** A resource as it travels. */
export interface Resource<Spec = unknown, Status = unknown> {
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly extensions?: Readonly<Record<string, string>>;
  readonly metadata: Metadata;
  readonly spec: Spec;
  readonly status?: Status;
}

export interface ResourceList<Spec = unknown, Status = unknown> {
  readonly items: readonly Resource<Spec, Status>[];
  readonly metadata: { readonly provider: string; readonly resource: string; readonly verb: string; readonly skipToken?: string };
}
