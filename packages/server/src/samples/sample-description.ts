import { HostLook, HostPath, HostUsage, InstanceLook, InstanceUsage, PathLook, samplesKeptSeconds } from '@virt8ra/contract';
import { type ApiDescription, body, itemsOf, type Json, pathParameter, responsesOf } from '../http/open-api-shapes.js';

const base = '/providers/virt8ra.metrics/v1beta1';
const tags = ['virt8ra.metrics'];
const [tenant, workspace, name] = ['tenant', 'workspace', 'name'].map(pathParameter);
const seconds: Json = {
  name: 'seconds',
  in: 'query',
  schema: { type: 'integer', minimum: 1, default: samplesKeptSeconds },
  description: 'how much of the last hour',
};

const work = `${base}/tenants/{tenant}/workspaces/{workspace}/instances`;

const list = (operationId: string, summary: string, item: string): Json => ({
  operationId,
  tags,
  summary,
  responses: responsesOf({ '200': body(itemsOf(item), 'All of them') }, [401, 403, 500]),
});
const history = (operationId: string, summary: string, item: string, parameters: readonly Json[]): Json => ({
  operationId,
  tags,
  summary,
  parameters,
  responses: responsesOf({ '200': body(itemsOf(item), 'What was seen') }, [400, 401, 403, 404, 500]),
});

/** What hosts and instances use, and what paths between hosts carry. */
export const sampleDescription: ApiDescription = {
  schemas: { HostLook, HostUsage, InstanceLook, InstanceUsage, HostPath, PathLook },
  paths: {
    [`${base}/hosts`]: { get: list('list-host-usage', 'what each host used over its last ten seconds', 'HostUsage') },
    [`${base}/hosts/{name}`]: {
      parameters: [name],
      get: history('host-usage-history', 'the last hour of one host', 'HostLook', [seconds]),
    },
    [work]: {
      parameters: [tenant, workspace],
      get: list('list-instance-usage', 'what each instance used over its last ten seconds', 'InstanceUsage'),
    },
    [`${work}/{name}`]: {
      parameters: [tenant, workspace, name],
      get: history('instance-usage-history', 'the last hour of one instance at its host', 'InstanceLook', [seconds]),
    },
    [`${base}/paths`]: { get: list('list-paths', 'what is known of how octets get from host to host', 'HostPath') },
    [`${base}/paths/{from}/{to}`]: {
      parameters: ['from', 'to'].map(pathParameter),
      get: history('path-history', 'the last times that anything was carried from one host to another', 'PathLook', []),
    },
  },
};
