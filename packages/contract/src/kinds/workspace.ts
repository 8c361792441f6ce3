import { Type } from 'typebox';
import { defineKind } from '../kind.js';
import { statusShape } from '../shape.js';

/** SECA workspace: the folder that instances, networks and block storages live in. Deletable only when empty. */
export const workspace = defineKind({
  kind: 'workspace',
  provider: 'seca.workspace',
  version: 'v1',
  collection: 'workspaces',
  scope: 'tenant',
  aliases: ['ws'],
  summary: 'a folder for instances, networks and block storages',
  spec: Type.Object({}),
  status: statusShape({ resourceCount: Type.Optional(Type.Integer({ minimum: 0 })) }),
});
