/** The catalogue of kinds, by hand. */
import type { Kind } from '../kind.js';
import { activityLog } from './activity-log.js';
import { agentRelease } from './agent-release.js';
import { backup, backupSchedule } from './backup.js';
import { backupExport } from './backup-export.js';
import { blockStorage } from './block-storage.js';
import { image, imageImport } from './image.js';
import { instance } from './instance.js';
import { instanceImport } from './instance-import.js';
import { internetGateway } from './internet-gateway.js';
import { internetNatGatewayInstance } from './internet-nat-gateway-instance.js';
import { kubernetesCluster, kubernetesNodePool } from './kubernetes.js';
import { migration } from './migration.js';
import { network, nic, subnet } from './network.js';
import { networkLoadBalancer } from './network-load-balancer.js';
import { objectStorageAccount } from './object-storage-account.js';
import { publicIp } from './public-ip.js';
import { quota } from './quota.js';
import { region } from './region.js';
import { role, roleAssignment } from './role.js';
import { routeTable } from './route-table.js';
import { securityGroup, securityGroupRule } from './security-group.js';
import { serviceAccount } from './service-account.js';
import { instanceSku, networkSku, storageSku } from './sku.js';
import { snapshot } from './snapshot.js';
import { account, host, provider, site } from './topology.js';
import { webhook } from './webhook.js';
import { workspace } from './workspace.js';

export const kinds: readonly Kind[] = [
  region,
  role,
  roleAssignment,
  serviceAccount,
  workspace,
  instanceSku,
  instance,
  storageSku,
  blockStorage,
  image,
  networkSku,
  network,
  internetGateway,
  routeTable,
  subnet,
  publicIp,
  securityGroupRule,
  securityGroup,
  nic,
  networkLoadBalancer,
  internetNatGatewayInstance,
  kubernetesCluster,
  kubernetesNodePool,
  objectStorageAccount,
  imageImport,
  provider,
  account,
  site,
  host,
  agentRelease,
  migration,
  backup,
  backupSchedule,
  backupExport,
  instanceImport,
  snapshot,
  activityLog,
  quota,
  webhook,
];

export * from './activity-log.js';
export * from './agent-release.js';
export * from './backup.js';
export * from './backup-export.js';
export * from './block-storage.js';
export * from './boot-probe.js';
export * from './cutover.js';
export * from './image.js';
export * from './instance.js';
export * from './instance-import.js';
export * from './internet-gateway.js';
export * from './internet-nat-gateway-instance.js';
export * from './kubernetes.js';
export * from './migration.js';
export * from './network.js';
export * from './network-load-balancer.js';
export * from './object-storage-account.js';
export * from './public-ip.js';
export * from './quota.js';
export * from './region.js';
export * from './role.js';
export * from './route-table.js';
export * from './security-group.js';
export * from './service-account.js';
export * from './sku.js';
export * from './snapshot.js';
export * from './topology.js';
export * from './webhook.js';
export * from './workspace.js';
