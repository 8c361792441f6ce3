import { Problem } from '@virt8ra/contract';
import type { FastifyInstance } from 'fastify';
import { restoreBase } from './restore-routes.js';
import type { Standstill } from './standstill.js';

const topology = '/providers/virt8ra.topology/';

/**
 * While the control plane stands still, it answers reads alone, and what ends the standstill: the release, and making known the places and hosts that
 * were added after the backup. Everything else is refused before its body is read.
 */
export function guardStandstill(app: FastifyInstance, standstill: Pick<Standstill, 'isHeld'>): void {
  app.addHook('onRequest', async (request) => {
    const { method } = request;
    if (!standstill.isHeld || method === 'GET' || method === 'HEAD' || method === 'OPTIONS') return;
    const route = request.routeOptions.url;
    if (route === undefined || route.startsWith(restoreBase)) return;
    if (route.startsWith(topology) && (method === 'PUT' || route.endsWith('/enrol'))) return;
    throw new Problem(
      'conflict',
      'the control plane was restored from a backup and changes nothing until an operator releases it: virt8ra restore show, then virt8ra restore release',
    );
  });
}
