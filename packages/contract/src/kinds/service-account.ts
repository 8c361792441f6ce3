import { type Static, Type } from 'typebox';
import { defineKind } from '../kind.js';
import { statusShape } from '../shape.js';

/** Lifetime of its tokens. */
export const accountTokenSeconds = { least: 60, most: 3600, otherwise: 900 } as const;

/**
 * A program that acts in a tenant, as the subject `service-account:TENANT/NAME`. POST `token` answers a token that lasts for minutes; all of them end with
 * the account. It may do what role assignments say.
 */
export const serviceAccount = defineKind({
  kind: 'service-account',
  provider: 'virt8ra.identity',
  version: 'v1beta1',
  collection: 'service-accounts',
  scope: 'tenant',
  regional: false,
  aliases: ['sa'],
  actions: ['token'],
  answers: { token: Type.Object({ token: Type.String(), expiresAt: Type.String() }) },
  actionBodies: {
    token: Type.Object(
      { lifetimeSeconds: Type.Optional(Type.Integer({ minimum: accountTokenSeconds.least, maximum: accountTokenSeconds.most })) },
      { additionalProperties: false },
    ),
  },
  summary: 'a program that acts in a tenant',
  spec: Type.Object({ description: Type.Optional(Type.String({ maxLength: 256 })) }, { additionalProperties: false }),
  status: statusShape({ subject: Type.Optional(Type.String({ maxLength: 256 })) }),
});
export type ServiceAccountSpec = Static<typeof serviceAccount.spec>;

export const accountSubjectPrefix = 'service-account:';

/** The name that assignments and the audit know a service account by. */
export function subjectOfAccount({ tenant, name }: { readonly tenant?: string; readonly name: string }): string {
  return `${accountSubjectPrefix}${tenant ?? ''}/${name}`;
}
