import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type ImageImportSpec, image, imageImport } from '@virt8ra/contract';
import { createRunner, engineMigrations } from '@virt8ra/engine';
import {
  createRecordedLog,
  expectTorture,
  startTestPostgres,
  type TestDatabase,
  type TestPostgres,
  type TortureWorld,
} from '@virt8ra/engine/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openArtifactStore } from '../../artifacts/artifact-store.js';
import { createEgress } from '../../outbound/egress.js';
import { createOutbound } from '../../outbound/outbound.js';
import { createStore } from '../../resources/create-store.js';
import { resourceMigrations } from '../../resources/migrations.js';
import type { ImageImportStatus, ImageStatus } from './status.js';
import { type AcceptInput, createAcceptWorkflow } from './workflow.js';

const content = randomBytes(96 * 1024);
const sha256 = createHash('sha256').update(content).digest('hex');

let postgres: TestPostgres;
let database: TestDatabase;
let source: Server;
let url: string;
let worlds = 0;

beforeAll(async () => {
  postgres = await startTestPostgres();
  database = await postgres.createDatabase([...engineMigrations, ...resourceMigrations]);
  source = createServer((_request, response) => response.end(content));
  await new Promise<void>((resolve) => source.listen(0, '127.0.0.1', resolve));
  url = `http://127.0.0.1:${(source.address() as AddressInfo).port}/disk`;
});
afterAll(async () => {
  source?.close();
  await postgres?.stop();
});

interface ImportWorld extends TortureWorld<AcceptInput, { readonly refused: string | null }> {
  snapshot(): Promise<unknown>;
  close(): Promise<void>;
}

/** A new import in a tenant of its own, with an artifact store of its own. */
async function createWorld(options: { readonly from: 'url' | 'upload'; readonly announced?: string }): Promise<ImportWorld> {
  worlds += 1;
  const tenant = `t${worlds}`;
  const announced = options.announced ?? sha256;
  const directory = await mkdtemp(join(tmpdir(), 'virt8ra-import-'));
  const artifacts = await openArtifactStore({
    directory,
    limits: { maxImageBytes: 1e9, maxVirtualBytes: 1e9 },
    outbound: createOutbound({ proxies: {} }),
    egress: createEgress({ allowPrivate: false, allow: ['127.0.0.1'] }),
    log: createRecordedLog(),
  });
  const store = createStore({ pool: database.pool, queue: { nudge: async () => undefined } });
  const spec: ImageImportSpec = {
    source: options.from === 'url' ? { url, sha256: announced } : { upload: { sizeBytes: content.length, sha256: announced } },
    format: 'raw',
    cpuArchitecture: 'amd64',
  };
  const { uid } = await store.transaction(
    async (tx) =>
      await tx.put({
        kind: imageImport,
        address: { tenant, name: 'base' },
        spec,
        status: { phase: 'receiving' },
        state: 'creating',
        conditions: [{ state: 'creating' }],
      }),
  );
  if (options.from === 'upload') {
    await artifacts.begin(uid, { sha256: announced, sizeBytes: content.length });
    await artifacts.append(
      uid,
      0,
      (async function* () {
        yield content;
      })(),
    );
  }
  return {
    workflow: createAcceptWorkflow({ store, now: () => new Date() }, artifacts),
    input: { uid, sha256: announced, format: 'raw', ...(options.from === 'url' ? { url } : {}) },
    async snapshot() {
      const found = await store.get<ImageImportSpec, ImageImportStatus>(imageImport, { tenant, name: 'base' });
      const made = await store.get<unknown, ImageStatus>(image, { tenant, name: 'base' });
      return {
        import: {
          state: found?.state,
          phase: found?.status.phase,
          conditions: found?.conditions.map(({ state, message }) => [state, message]),
        },
        image: made === undefined ? null : { state: made.state, sha256: made.status.sha256, version: made.resourceVersion },
        // What is not sent again is kept until somebody deletes the import or the run ends well.
        incoming: options.from === 'url' ? await readdir(join(directory, 'incoming')) : [],
        ended: (found?.status.phase ?? '') === 'done' ? await readdir(join(directory, 'images')) : [],
      };
    },
    close: async () => await rm(directory, { recursive: true, force: true, maxRetries: 5 }),
  };
}

async function play(world: ImportWorld): Promise<unknown> {
  const runner = createRunner({ pool: database.pool, workflows: [world.workflow], log: createRecordedLog(), owner: 'test' });
  try {
    const runId = await runner.start(world.workflow, { subject: `image-import/${world.input.uid}`, input: world.input });
    await runner.queue.work(`run/${runId}`);
    expect(await runner.get(runId)).toMatchObject({ state: 'done' });
    return await world.snapshot();
  } finally {
    await runner.queue.stop({ abandon: true });
    await world.close();
  }
}

describe('acceptance of an image import', () => {
  it.each(['url', 'upload'] as const)('makes the image of what came by %s and leaves nothing half arrived', async (from) => {
    expect(await play(await createWorld({ from }))).toEqual({
      import: {
        state: 'active',
        phase: 'done',
        conditions: [
          ['active', undefined],
          ['creating', undefined],
        ],
      },
      image: { state: 'active', sha256, version: 1 },
      incoming: [],
      ended: [sha256, `${sha256}.json`],
    });
  });

  it('refuses what is not as announced, with the reason, and makes no image', async () => {
    expect(await play(await createWorld({ from: 'url', announced: 'b'.repeat(64) }))).toMatchObject({
      import: {
        state: 'error',
        phase: 'refused',
        conditions: [
          ['error', expect.stringContaining(sha256)],
          ['creating', undefined],
        ],
      },
      image: null,
      incoming: [],
    });
  });

  it.each([{ from: 'url' as const }, { from: 'upload' as const }, { from: 'url' as const, announced: 'b'.repeat(64) }])(
    'withstands every fault at every step: %o',
    async (options) => {
      await expectTorture({ pool: database.pool, world: async () => await createWorld(options) });
    },
    120_000,
  );
});
