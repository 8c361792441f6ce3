import type { LoginIssuer } from '@virt8ra/contract';
import type { FastifyInstance } from 'fastify';
import { subjectOf } from './subject-of-request.js';

const base = '/providers/virt8ra.identity/v1beta1';

/** `GET …/whoami`: the caller, as their token says. `GET …/tenants`: where they may be something. `GET …/login`, without a token: where one is to be had. */
export function addIdentityRoutes(app: FastifyInstance, { issuers }: { readonly issuers: () => readonly LoginIssuer[] }): void {
  app.get(`${base}/whoami`, { config: { access: 'caller' } }, async (request) => {
    const { remote: _, ...subject } = subjectOf(request);
    return subject;
  });
  app.get(`${base}/tenants`, { config: { access: 'caller' } }, async (request) => {
    const { tenants } = subjectOf(request);
    return { items: (tenants === 'all' ? [] : tenants).map((name) => ({ name })) };
  });
  app.get(`${base}/login`, { config: { open: true } }, async () => ({ issuers: issuers() }));
}
