import { AuditRecord, AuditVerification } from '@virt8ra/contract';
import {
  type ApiDescription,
  body,
  type Json,
  listParameters,
  listSchema,
  pathParameter,
  ref,
  responsesOf,
  text,
} from '../http/open-api-shapes.js';

const base = '/providers/virt8ra.audit/v1beta1';
const tags = ['virt8ra.audit'];
const parameters: readonly Json[] = [
  { name: 'resource', in: 'query', schema: text, description: 'URN: only what is of this resource' },
  ...listParameters,
];
const entries = (operationId: string, summary: string): Json => ({
  operationId,
  tags,
  summary,
  parameters,
  responses: responsesOf({ '200': body(listSchema('AuditRecord'), 'A page') }, [400, 401, 403, 500]),
});

export const auditDescription: ApiDescription = {
  schemas: { AuditRecord, AuditVerification },
  paths: {
    [`${base}/entries`]: { get: entries('list-audit', 'the audit of all tenants, newest first; for the operator') },
    [`${base}/tenants/{tenant}/entries`]: {
      parameters: [pathParameter('tenant')],
      get: entries('list-audit-of-tenant', 'the audit of a tenant, newest first'),
    },
    [`${base}/verification`]: {
      get: {
        operationId: 'verify-audit',
        tags,
        summary: 'whether a part of the audit is what was sealed and signed; for the operator',
        parameters: [
          { name: 'after', in: 'query', schema: { type: 'integer', minimum: 0 }, description: 'next of the part before' },
          { name: 'head', in: 'query', schema: text, description: 'POSITION:HASH of a head that was seen before' },
        ],
        responses: responsesOf(
          { '200': body(ref('AuditVerification'), 'What was found, also when it does not hold') },
          [400, 401, 403, 500],
        ),
      },
    },
  },
};
