import type { Kind } from '@virt8ra/contract';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { Registry } from 'prom-client';
import { addDocsPage } from './docs-page.js';
import type { Json } from './open-api-shapes.js';
import { endpointsOf } from './region-routes.js';

export interface OperationRoutesOptions {
  readonly kinds: readonly Kind[];
  /** The served description. */
  readonly description: Json;
  readonly metrics: Registry;
  readonly publicUrl: (request: FastifyRequest) => string;
  /** Raises why this server should get no requests. */
  readonly ready: () => Promise<void>;
}

/** What is answered without a token: discovery, the description, and what runs the server looks at. */
export function addOperationRoutes(app: FastifyInstance, { kinds, description, metrics, publicUrl, ready }: OperationRoutesOptions): void {
  const open = { config: { open: true } };

  app.get('/.wellknown/secapi', open, async (request) => ({
    version: 'v1',
    endpoints: endpointsOf(kinds, publicUrl(request)).map(({ provider, url }) => ({ provider, url })),
  }));
  app.get('/openapi.json', open, async () => description);
  addDocsPage(app);
  app.get('/healthz', open, async () => ({ status: 'ok' }));
  app.get('/readyz', open, async () => {
    await ready();
    return { status: 'ready' };
  });
  app.get('/metrics', open, async (_request, reply) => await reply.type(metrics.contentType).send(await metrics.metrics()));
}
