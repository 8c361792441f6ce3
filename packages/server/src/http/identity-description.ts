import { Caller, LoginIssuer } from '@virt8ra/contract';
import { type ApiDescription, body, itemsOf, ref, responsesOf, text } from './open-api-shapes.js';

const base = '/providers/virt8ra.identity/v1beta1';
const tags = ['virt8ra.identity'];

export const identityDescription: ApiDescription = {
  schemas: {
    Caller,
    LoginIssuer,
    TenantName: { type: 'object', required: ['name'], properties: { name: text } },
  },
  paths: {
    [`${base}/whoami`]: {
      get: {
        operationId: 'whoami',
        tags,
        summary: 'the caller, as their token says',
        responses: responsesOf({ '200': body(ref('Caller'), 'Who asks') }, [401]),
      },
    },
    [`${base}/tenants`]: {
      get: {
        operationId: 'list-own-tenants',
        tags,
        summary: 'the tenants that the caller has',
        responses: responsesOf({ '200': body(itemsOf('TenantName'), 'All of them') }, [401]),
      },
    },
    [`${base}/login`]: {
      get: {
        operationId: 'list-login-issuers',
        tags,
        summary: 'where a token is to be had',
        security: [],
        responses: responsesOf(
          {
            '200': body(
              { type: 'object', required: ['issuers'], properties: { issuers: { type: 'array', items: ref('LoginIssuer') } } },
              'All that this server takes tokens of and names',
            ),
          },
          [],
        ),
      },
    },
  },
};
