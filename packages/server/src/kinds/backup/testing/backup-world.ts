import { createHash } from 'node:crypto';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type BackupSpec, backup, blockStorage, type Id, Problem } from '@virt8ra/contract';
import { type BackupRealizationStatus, type BackupsFacet, backupContentKey, type Connection, type Handle } from '@virt8ra/driver';
import type { TortureWorld } from '@virt8ra/engine/testing';
import type { Pool } from 'pg';
import { openArtifactStore } from '../../../artifacts/artifact-store.js';
import { emptyQcow2 } from '../../../artifacts/testing/qcow2-image.js';
import { createEgress } from '../../../outbound/egress.js';
import { createOutbound } from '../../../outbound/outbound.js';
import { createStore } from '../../../resources/create-store.js';
import { blockStorageBytes } from '../../block-storage/index.js';
import type { BackupContext, BackupInput } from '../plan.js';
import type { BackupStatus } from '../status.js';
import { createBackupWorkflow } from '../workflow.js';

/** A block storage at a host in memory that sends it honestly, or not, and a backup of it that is wanted. */
export interface BackupWorld extends TortureWorld<BackupInput, null> {
  readonly context: BackupContext;
  snapshot(): Promise<unknown>;
  close(): Promise<void>;
}

export type Honesty = 'honest' | 'spoils what it sends' | 'has no room';

const at = '2026-01-01T00:00:00.000Z';
const place = { tenant: 'acme', workspace: 'prod' };
let worlds = 0;

export async function createBackupWorld(pool: Pool, honesty: Honesty = 'honest'): Promise<BackupWorld> {
  worlds += 1;
  const directory = await mkdtemp(join(tmpdir(), 'virt8ra-backup-'));
  const log = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined };
  const limits = { maxImageBytes: 1e9, maxVirtualBytes: 1e11 };
  const artifacts = await openArtifactStore({
    directory,
    limits,
    outbound: createOutbound({ proxies: {} }),
    egress: createEgress({ allowPrivate: false, allow: [] }),
    log,
  });
  const store = createStore({ pool, queue: { nudge: async () => undefined } });
  const objects = new Map<string, { state: BackupRealizationStatus['state']; going: boolean }>();
  const sizeBytes = blockStorageBytes(2);
  const content = emptyQcow2(sizeBytes);
  const sha256 = createHash('sha256').update(content).digest('hex');
  const handleOf = (key: string): Handle => ({ driver: 'memory', version: 1, value: key });
  const backups: BackupsFacet = {
    async create(_spec, key) {
      if (!objects.has(key)) objects.set(key, { state: 'waiting', going: false });
      return handleOf(key);
    },
    find: async (key) => (objects.has(key) ? handleOf(key) : undefined),
    async observe({ value }) {
      const object = objects.get(value);
      const source = 'memory';
      if (object === undefined) return { type: 'absent', at, source };
      const status: BackupRealizationStatus = {
        state: object.state,
        ...(object.state === 'waiting' ? {} : { takenAt: at, consistency: 'crash' as const }),
        volumes: [{ sizeBytes, ...(object.state === 'sent' ? { file: { sha256, bytes: content.length } } : {}) }],
      };
      if (object.state === 'failed')
        return {
          type: 'broken',
          at,
          source,
          status,
          problem: new Problem('exhausted', 'its disk is full', { facts: { code: 'exhausted' } }),
        };
      return object.state === 'sent' && !object.going
        ? { type: 'present', at, source, status }
        : { type: 'changing', at, source, status, retryAfterSeconds: 1 };
    },
    update: async () => undefined,
    async remove({ value }) {
      const object = objects.get(value);
      if (object !== undefined) object.going = true;
    },
    async *list() {
      for (const key of objects.keys()) yield { handle: handleOf(key), key };
    },
  };
  async function send(key: string): Promise<void> {
    const contentKey = backupContentKey(key, 0);
    const { offset } = await artifacts.begin(contentKey, { sha256, sizeBytes: content.length });
    if (offset > 0) return;
    const sent = Buffer.from(content);
    if (honesty === 'spoils what it sends') sent[70_000] = 1;
    await artifacts.append(
      contentKey,
      0,
      (async function* () {
        yield sent;
      })(),
    );
  }
  async function tick(): Promise<void> {
    for (const [key, object] of objects) {
      if (object.going) objects.delete(key);
      else if (object.state === 'waiting') object.state = honesty === 'has no room' ? 'failed' : 'copying';
      else if (object.state === 'copying') {
        await send(key);
        object.state = 'sent';
      }
    }
  }

  const name = `disk-${worlds}`;
  const uids = await store.transaction(async (tx) => {
    const disk = await tx.put({
      kind: blockStorage,
      address: { ...place, name },
      spec: { sizeGB: 2, skuRef: 'skus/D' },
      status: { placement: { site: 'here', host: 'h1', cause: 'consumer', reason: 'its instance is there', revision: 1 } },
      state: 'active',
      conditions: [{ state: 'active' }],
    });
    const realized = await tx.ledger.intend({ resourceUid: disk.uid, role: 'primary', facet: 'blockStorages', site: 'here', host: 'h1' });
    await tx.ledger.confirm(realized.id, handleOf('volume'));
    const spec: BackupSpec = { blockStorageRef: `block-storages/${name}` };
    const wanted = await tx.put({
      kind: backup,
      address: { ...place, name: `backup-${worlds}` },
      spec,
      status: { phase: 'waiting' },
      state: 'creating',
      conditions: [{ state: 'creating' }],
      references: [{ pointer: '/spec/blockStorageRef', given: spec.blockStorageRef, uid: disk.uid }],
    });
    return { backup: wanted.uid as Id<'resource'>, name };
  });
  const connection = { backups } as unknown as Connection;
  const sites = { connectionOf: async () => connection, close: async () => undefined };
  const context: BackupContext = { store, sites, now: () => new Date() };
  return {
    context,
    workflow: createBackupWorkflow(context, artifacts),
    input: { backup: uids.backup },
    proceed: tick,
    async snapshot() {
      const found = await store.getByUid<BackupSpec, BackupStatus>(uids.backup);
      const isDone = found?.status.phase === 'done';
      return JSON.parse(
        JSON.stringify({
          status: found?.status,
          state: found?.state,
          ledger: (await store.ledger.ofResource(uids.backup)).length,
          objects: objects.size,
          incoming: await readdir(join(directory, 'incoming')),
          // What was accepted before an undo is nobody's, and is collected.
          images: isDone ? (await readdir(join(directory, 'images'))).sort() : [],
        }).replaceAll(uids.name, 'disk'),
      );
    },
    close: async () => await rm(directory, { recursive: true, force: true, maxRetries: 5 }),
  };
}
