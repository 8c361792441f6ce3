import { Type } from 'typebox';
import { defineKind } from '../kind.js';

/** What was asked for in a workspace, by whom, and what the answer was: rows of the audit, as SECA shapes them. */
export const activityLog = defineKind({
  kind: 'activity-log',
  provider: 'seca.activitylog',
  version: 'v1beta1',
  collection: 'activity-logs',
  scope: 'workspace',
  writable: false,
  aliases: ['activity'],
  summary: 'what was asked for in a workspace, by whom, and what was decided',
  spec: Type.Object(
    {
      subject: Type.Optional(Type.String({ maxLength: 256 })),
      request: Type.Optional(
        Type.Object({
          verb: Type.Optional(Type.String({ maxLength: 7 })),
          resource: Type.Optional(Type.String({ maxLength: 2000 })),
          body: Type.Optional(Type.Object({})),
        }),
      ),
      response: Type.Optional(Type.Object({ code: Type.Optional(Type.Number({ minimum: 100, maximum: 599 })) })),
    },
    { additionalProperties: false },
  ),
  status: undefined,
});
