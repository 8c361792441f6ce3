import { Type } from 'typebox';
import { defineKind } from '../kind.js';
import { statusShape } from '../shape.js';

/** SECA object storage account (v1beta1). It lies in a workspace, and its metadata is that of a tenant's: it says no region. */
export const objectStorageAccount = defineKind({
  kind: 'object-storage-account',
  provider: 'seca.objectstorage',
  version: 'v1beta1',
  collection: 'accounts',
  scope: 'workspace',
  regional: false,
  aliases: ['object-storage-accounts'],
  summary: 'keys to an object store',
  spec: Type.Object({}),
  status: statusShape({
    accessKey: Type.Optional(Type.String({ maxLength: 128 })),
    secretKey: Type.Optional(Type.String({ maxLength: 128 })),
    canonicalUserId: Type.Optional(Type.String({ maxLength: 64 })),
  }),
});
