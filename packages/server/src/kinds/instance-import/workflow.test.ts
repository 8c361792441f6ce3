import { createHash } from 'node:crypto';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  blockStorage,
  type InstanceImportSpec,
  image,
  instance,
  instanceImport,
  instanceSku,
  storageSku,
  workspace,
} from '@virt8ra/contract';
import {
  createRecordedLog,
  expectTorture,
  startTestPostgres,
  type TestDatabase,
  type TestPostgres,
  type TortureWorld,
} from '@virt8ra/engine/testing';
import { afterAll, beforeAll, describe, it } from 'vitest';
import { migrations } from '../../app-migrations.js';
import { openArtifactStore } from '../../artifacts/artifact-store.js';
import { emptyQcow2 } from '../../artifacts/testing/qcow2-image.js';
import { createEgress } from '../../outbound/egress.js';
import { createOutbound } from '../../outbound/outbound.js';
import { controller, cpu, descriptorOf, diskEntry, diskItem, makeOva, memory } from '../../ovf/testing/make-ova.js';
import { createStore } from '../../resources/create-store.js';
import type { KindBehaviour } from '../behaviour.js';
import { createBlockStorageBehaviour } from '../block-storage/index.js';
import type { KindContext } from '../context.js';
import { createInstanceBehaviour, type InstanceContext } from '../instance/index.js';
import type { InstanceImportStatus } from './status.js';
import { createMakeWorkflow, type MakeInput } from './workflow.js';

const disk = emptyQcow2(4 * 1024 * 1024);

let postgres: TestPostgres;
let database: TestDatabase;
let ova: Buffer;
let worlds = 0;

interface ImportWorld extends TortureWorld<MakeInput, { readonly refused: string | null }> {
  snapshot(): Promise<unknown>;
  close(): Promise<void>;
}

/** An OVA that has come, for a workspace of its own. */
async function createWorld(spoilt: boolean): Promise<ImportWorld> {
  worlds += 1;
  const place = { tenant: `t${worlds}`, workspace: 'prod' };
  const directory = await mkdtemp(join(tmpdir(), 'virt8ra-machine-'));
  const limits = { maxImageBytes: 1e9, maxVirtualBytes: 1e9 };
  const artifacts = await openArtifactStore({
    directory,
    limits,
    outbound: createOutbound({ proxies: {} }),
    egress: createEgress({ allowPrivate: false, allow: [] }),
    log: createRecordedLog(),
  });
  const store = createStore({ pool: database.pool, queue: { nudge: async () => undefined } });
  const content = Buffer.from(ova);
  if (spoilt) content.write('x', content.length - 3000);
  const sha256 = createHash('sha256').update(content).digest('hex');
  const spec: InstanceImportSpec = { source: { upload: { sizeBytes: content.length, sha256 } } };
  const { uid } = await store.transaction(async (tx) => {
    const active = { state: 'active' as const, conditions: [{ state: 'active' as const }] };
    await tx.put({ kind: workspace, address: { tenant: place.tenant, name: 'prod' }, spec: {}, ...active });
    await tx.put({ kind: instanceSku, address: { tenant: place.tenant, name: 'small' }, spec: { vCPU: 1, ram: 1 }, ...active });
    const disk = { iops: 500, type: 'local-durable', minVolumeSize: 1 };
    await tx.put({ kind: storageSku, address: { tenant: place.tenant, name: 'ld500' }, spec: disk, ...active });
    const status: InstanceImportStatus = { phase: 'reading', askedBy: 'somebody' };
    return await tx.put({
      kind: instanceImport,
      address: { ...place, name: 'web' },
      spec,
      status: { ...status },
      state: 'creating',
      conditions: [{ state: 'creating' }],
    });
  });
  await artifacts.begin(uid, { sha256, sizeBytes: content.length });
  await artifacts.append(
    uid,
    0,
    (async function* () {
      yield content;
    })(),
  );
  const converted = { sha256: 'c'.repeat(64), format: 'qcow2' as const, virtualSizeBytes: 4 * 1024 * 1024, fileBytes: disk.length };
  const context = { store, now: () => new Date(), log: createRecordedLog() } as unknown as KindContext & InstanceContext;
  const behaviours = {
    blockStorage: createBlockStorageBehaviour(context) as KindBehaviour,
    instance: createInstanceBehaviour(context) as KindBehaviour,
    nic: createBlockStorageBehaviour(context) as KindBehaviour,
  };
  return {
    // How disks are converted is tried elsewhere; here it is quick, and answers the same for the same.
    workflow: createMakeWorkflow({ context, artifacts: { ...artifacts, convertPart: async () => converted }, behaviours, limits }),
    input: { uid, sha256 },
    async snapshot() {
      const found = await store.getByUid<InstanceImportSpec, InstanceImportStatus>(uid);
      const made = [
        await store.get(instance, { ...place, name: 'web' }),
        await store.get(blockStorage, { ...place, name: 'web-disk1' }),
        await store.get(blockStorage, { ...place, name: 'web-disk2' }),
        await store.get(image, { tenant: place.tenant, name: 'web-disk1' }),
      ];
      const { rows } = await database.pool.query<{ count: number }>('select count(*)::int as count from audit where resource like $1', [
        `%tenants/${place.tenant}/%`,
      ]);
      const { phase } = found?.status ?? {};
      const isOver = phase === 'done' || phase === 'refused';
      return {
        // How far it was is shown until it is over, and settled by the reconcile when its run has come to nothing.
        import: isOver ? { phase, state: found?.state, message: found?.conditions[0]?.message } : 'under way',
        made: made.map((each) => (each === undefined ? null : each.resourceVersion)),
        audited: rows[0]?.count,
        incoming: isOver ? await readdir(join(directory, 'incoming')) : [],
      };
    },
    close: async () => await rm(directory, { recursive: true, force: true, maxRetries: 5 }),
  };
}

describe('making a machine of an OVA', () => {
  beforeAll(async () => {
    ova = makeOva(
      descriptorOf({
        files: '<File ovf:id="f1" ovf:href="d.qcow2"/>',
        disks: diskEntry('d1', 'f1', 4, 'byte * 2^20') + diskEntry('d2', undefined, 4, 'byte * 2^20'),
        items: `${cpu(1)}${memory(1024)}${controller(3, 6)}${diskItem(9, 'd1', 3, 0)}${diskItem(10, 'd2', 3, 1)}`,
      }),
      [{ name: 'd.qcow2', content: disk }],
    );
    postgres = await startTestPostgres();
    database = await postgres.createDatabase(migrations.flatMap((each) => [...each.migrations]));
  }, 60_000);
  afterAll(async () => await postgres?.stop());

  it.each([false, true])(
    'withstands every fault at every step, and makes all of it or nothing; spoilt: %s',
    async (spoilt) => {
      await expectTorture({ pool: database.pool, world: async () => await createWorld(spoilt) });
    },
    120_000,
  );
});
