import { readFile } from 'node:fs/promises';
import { oneOf, Problem } from '@virt8ra/contract';
import { type Static, Type } from 'typebox';
import { Check, Errors } from 'typebox/value';
import { isSafe } from './key-set.js';

const closed = { additionalProperties: false } as const;
const Text = Type.String({ minLength: 1, maxLength: 512 });
const Tenants = Type.Array(Type.String({ minLength: 1, maxLength: 64 }), { minItems: 1, maxItems: 1000 });
/** Asymmetric ones alone: a key that everybody may read must not be one to sign with. */
const algorithms = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA'] as const;

export const OidcIssuerOptions = Type.Object(
  {
    /** Its subjects are called NAME:SUBJECT, its groups NAME:groups/GROUP, so that no two issuers can mean the same. */
    name: Type.String({ pattern: '^[a-z0-9]([-a-z0-9]*[a-z0-9])?$', maxLength: 32 }),
    issuer: Text,
    audience: Text,
    algorithms: Type.Optional(Type.Array(oneOf(algorithms), { minItems: 1, maxItems: 10 })),
    /** Names of claims; a dot leads into an object. */
    claims: Type.Optional(Type.Object({ subject: Type.Optional(Text), groups: Type.Optional(Text), tenants: Type.Optional(Text) }, closed)),
    /** Of everybody it knows; with `claims.tenants`, those that the claim may name. */
    tenants: Tenants,
    /** Whose members are operators. */
    operatorGroups: Type.Optional(Type.Array(Text, { maxItems: 100 })),
    /** Of the command line, for `virt8ra login`. */
    clientId: Type.Optional(Text),
    scopes: Type.Optional(Type.Array(Text, { maxItems: 32 })),
  },
  closed,
);
export type OidcIssuerOptions = Static<typeof OidcIssuerOptions>;

export const IdentityOptions = Type.Object(
  {
    issuers: Type.Optional(Type.Array(OidcIssuerOptions, { maxItems: 32 })),
    /** All subjects there are, besides service accounts: an assignment to another is refused. Absent: any may be named. */
    subjects: Type.Optional(Type.Array(Type.String({ minLength: 1, maxLength: 128 }), { maxItems: 100_000 })),
  },
  closed,
);
export type IdentityOptions = Static<typeof IdentityOptions>;

/** Reads the file of issuers and subjects. Raises `validation` that says where it is wrong. */
export async function readIdentityFile(path: string | undefined, tenants: readonly string[]): Promise<IdentityOptions> {
  if (path === undefined) return {};
  const wrong = (message: string, cause?: unknown): Problem => new Problem('validation', `${path} ${message}`, { cause });
  const text = await readFile(path, 'utf8').catch((cause: unknown) => {
    throw wrong(`cannot be read: ${(cause as Error).message}`, cause);
  });
  let options: unknown;
  try {
    options = JSON.parse(text);
  } catch (cause) {
    throw wrong(`is not JSON: ${(cause as Error).message}`, cause);
  }
  if (!Check(IdentityOptions, options)) {
    const [first] = Errors(IdentityOptions, options);
    throw wrong(`at ${first?.instancePath || '/'}: ${first?.message ?? 'is not as it must be'}`);
  }
  const { issuers = [] } = options;
  for (const [at, { issuer, name, tenants: named }] of issuers.entries()) {
    if (!isSafe(issuer)) throw wrong(`at /issuers/${at}/issuer: must be an https URL`);
    if (issuers.findIndex((each) => each.name === name || each.issuer === issuer) !== at)
      throw wrong(`at /issuers/${at}: its name and URL must be its own`);
    const unknown = named.find((tenant) => !tenants.includes(tenant));
    if (unknown !== undefined) throw wrong(`at /issuers/${at}/tenants: names ${unknown}; the tenants are ${tenants.join(', ')}`);
  }
  return options;
}
