import { kinds, Problem } from '@virt8ra/contract';
import type { Driver } from '@virt8ra/driver';
import type { Log, Runner, Workflow } from '@virt8ra/engine';
import type { Pool } from 'pg';
import type { AccessEndpoints } from './access/access-endpoints.js';
import type { AccountCredentials } from './accounts/account-credentials.js';
import type { SiteConnections } from './accounts/site-connections.js';
import type { ImageLimits } from './artifacts/artifact.js';
import type { ArtifactStore } from './artifacts/artifact-store.js';
import type { Fleet } from './fleet/fleet.js';
import type { Issuer } from './identity/issuer.js';
import { createAgentReleaseBehaviour } from './kinds/agent-release/index.js';
import { createRoleAssignmentBehaviour, createRoleBehaviour } from './kinds/authorization/index.js';
import { createBackupBehaviour, createBackupWorkflow } from './kinds/backup/index.js';
import { createBackupExportBehaviour, createExportWorkflow } from './kinds/backup-export/index.js';
import { createBackupScheduleBehaviour } from './kinds/backup-schedule/index.js';
import type { KindBehaviour } from './kinds/behaviour.js';
import { createBlockStorageBehaviour } from './kinds/block-storage/index.js';
import { catalogueBehaviours } from './kinds/catalogue/index.js';
import type { KindContext } from './kinds/context.js';
import { declarativeBehaviour } from './kinds/declarative/index.js';
import { createImageBehaviour } from './kinds/image/index.js';
import { createAcceptWorkflow, createImageImportBehaviour } from './kinds/image-import/index.js';
import { createInstanceBehaviour, type InstanceContext } from './kinds/instance/index.js';
import { createInstanceImportBehaviour, createMakeWorkflow, type MakingBehaviours } from './kinds/instance-import/index.js';
import { internetGatewayBehaviour } from './kinds/internet-gateway/index.js';
import { createInternetNatGatewayInstanceBehaviour } from './kinds/internet-nat-gateway-instance/index.js';
import { createKubernetesBehaviours } from './kinds/kubernetes/index.js';
import { createMigrationBehaviour, createMigrationWorkflow, createMoveMeasures, createWayBackWorkflows } from './kinds/migration/index.js';
import { createNetworkBehaviour } from './kinds/network/index.js';
import { createNetworkLoadBalancerBehaviour } from './kinds/network-load-balancer/index.js';
import { createNicBehaviour } from './kinds/nic/index.js';
import { createObjectStorageAccountBehaviour } from './kinds/object-storage-account/index.js';
import { publicIpBehaviour } from './kinds/public-ip/index.js';
import { createQuotaBehaviour } from './kinds/quota/index.js';
import { createRouteTableBehaviour } from './kinds/route-table/index.js';
import { createSecurityGroupBehaviour, securityGroupRuleBehaviour } from './kinds/security-group/index.js';
import { createServiceAccountBehaviour } from './kinds/service-account/index.js';
import { createSnapshotBehaviour } from './kinds/snapshot/index.js';
import { createSubnetBehaviour } from './kinds/subnet/index.js';
import { createDrainWorkflow, createTopologyBehaviours } from './kinds/topology/index.js';
import { createWebhookBehaviour, type WebhookParts } from './kinds/webhook/index.js';
import { workspaceBehaviour } from './kinds/workspace/index.js';
import type { Store } from './resources/store.js';
import type { SampleStore } from './samples/sample-store.js';

/** The list of kinds, by hand, each with its collaborators. */
export interface Kinds {
  /** What behaviours work with, for what is no kind's own. */
  readonly context: KindContext;
  readonly behaviours: readonly KindBehaviour[];
  readonly workflows: readonly Workflow[];
  /** Behaviours and workflows are built before the runner that runs them; this closes the circle. */
  bindRunner(runner: Runner): void;
}

export function composeKinds(parts: {
  readonly region: string;
  /** Whether references may be ahead of what they name. */
  readonly declarative: boolean;
  readonly issuer: Pick<Issuer, 'issueToken'>;
  /** Whether there may be such a subject. */
  readonly subjects: Pick<ReadonlySet<string>, 'has'>;
  readonly store: Store;
  readonly pool: Pool;
  readonly sites: SiteConnections;
  readonly fleet: Fleet;
  readonly artifacts: ArtifactStore;
  readonly limits: ImageLimits;
  readonly access: AccessEndpoints;
  readonly samples: SampleStore;
  readonly webhooks: Pick<WebhookParts, 'queue' | 'box' | 'egress' | 'allowHttp'>;
  readonly drivers: readonly Driver<unknown>[];
  readonly credentials: AccountCredentials;
  readonly log: Log;
}): Kinds {
  const { region, declarative, issuer, subjects, store, pool, sites, fleet, artifacts, limits, access, samples, webhooks, drivers, log } =
    parts;
  let bound: Runner | undefined;
  const context: InstanceContext = {
    store,
    sites,
    access,
    declarative,
    measures: createMoveMeasures({ pool, fleet, samples }),
    get runner() {
      if (bound === undefined) throw new Problem('unavailable', 'the server is still starting', { retryAfterSeconds: 1 });
      return bound;
    },
    now: () => new Date(),
    log,
  };
  const acceptWorkflow = createAcceptWorkflow(context, artifacts);
  const migrationWorkflow = createMigrationWorkflow(context);
  const wayBack = createWayBackWorkflows(context);
  const drainWorkflow = createDrainWorkflow(context);
  const backupWorkflow = createBackupWorkflow(context, artifacts);
  const exportWorkflow = createExportWorkflow(context, artifacts);
  const making: MakingBehaviours = {
    nic: createNicBehaviour(context) as KindBehaviour,
    blockStorage: createBlockStorageBehaviour(context) as KindBehaviour,
    instance: createInstanceBehaviour(context) as KindBehaviour,
  };
  const makeWorkflow = createMakeWorkflow({ context, artifacts, behaviours: making, limits });
  const behaviours: readonly KindBehaviour[] = [
    createRoleBehaviour(kinds) as KindBehaviour,
    createRoleAssignmentBehaviour({ region, declarative, subjects }) as KindBehaviour,
    createServiceAccountBehaviour(issuer, context.now) as KindBehaviour,
    workspaceBehaviour as KindBehaviour,
    ...catalogueBehaviours,
    ...createTopologyBehaviours({ context, pool, fleet, drivers, credentials: parts.credentials, drain: drainWorkflow }),
    createAgentReleaseBehaviour(context, artifacts) as KindBehaviour,
    createImageBehaviour(context, artifacts) as KindBehaviour,
    createImageImportBehaviour(context, artifacts, acceptWorkflow) as KindBehaviour,
    createInstanceImportBehaviour(context, artifacts, makeWorkflow, region) as KindBehaviour,
    createNetworkBehaviour(context, { pool, networkPairs: fleet.networkPairs }) as KindBehaviour,
    createSubnetBehaviour(context) as KindBehaviour,
    internetGatewayBehaviour as KindBehaviour,
    createRouteTableBehaviour(context) as KindBehaviour,
    publicIpBehaviour as KindBehaviour,
    securityGroupRuleBehaviour as KindBehaviour,
    createSecurityGroupBehaviour(context) as KindBehaviour,
    making.nic,
    making.blockStorage,
    making.instance,
    createMigrationBehaviour(context, migrationWorkflow, wayBack) as KindBehaviour,
    createBackupBehaviour(context, backupWorkflow) as KindBehaviour,
    createBackupScheduleBehaviour(context) as KindBehaviour,
    createBackupExportBehaviour(context, artifacts, exportWorkflow) as KindBehaviour,
    createSnapshotBehaviour(context) as KindBehaviour,
    createNetworkLoadBalancerBehaviour(context) as KindBehaviour,
    createInternetNatGatewayInstanceBehaviour(context) as KindBehaviour,
    ...(createKubernetesBehaviours(context) as readonly KindBehaviour[]),
    createObjectStorageAccountBehaviour(context),
    createQuotaBehaviour(pool) as KindBehaviour,
    createWebhookBehaviour({ ...webhooks, pool, kinds, now: context.now }) as KindBehaviour,
  ];
  return {
    context,
    behaviours: declarative ? behaviours.map((each) => declarativeBehaviour(each, store, () => behaviours)) : behaviours,
    workflows: [
      acceptWorkflow as Workflow,
      migrationWorkflow as Workflow,
      wayBack.flow as Workflow,
      wayBack.release as Workflow,
      drainWorkflow as Workflow,
      backupWorkflow as Workflow,
      exportWorkflow as Workflow,
      makeWorkflow as Workflow,
    ],
    bindRunner(runner) {
      bound = runner;
    },
  };
}
