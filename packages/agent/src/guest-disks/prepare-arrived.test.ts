import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type DesiredReceive, type GuestChange, type ObservedTransfer, Problem } from '@virt8ra/contract';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parseConfig } from '../config.js';
import { Board } from '../desired/board.js';
import { openLedger } from '../desired/ledger.js';
import { openQuarantine } from '../disk/quarantine.js';
import type { HostContext } from '../host-context.js';
import { silentLog } from '../log.js';
import { VolumeStore } from '../storage/volume-store.js';
import { hasCommand, runCommand } from '../system/run-command.js';
import { TransferNotes, type TransferParts } from '../transfer/transfer-notes.js';
import { TransferStore } from '../transfer/transfer-store.js';
import type { GuestDisks } from './guest-disks.js';
import { ArrivedPreparer } from './prepare-arrived.js';

const tools = (await hasCommand('qemu-img')) && (await hasCommand('qemu-io'));
if (!tools) process.stderr.write('skipped: qemu-img and qemu-io are not installed\n');

const changes: GuestChange[] = [{ code: 'mounts-by-uuid', file: '/etc/fstab', why: 'names change' }];
const receive: DesiredReceive = {
  id: 't1',
  role: 'receive',
  disks: [{ volumeKey: 'v1', sizeBytes: 1024 * 1024 }],
  peerName: 'alpha.agents.virt8ra.internal',
  goal: 'receive',
  prepare: { target: { architecture: 'amd64', diskBus: 'virtio-blk', nics: [] }, changes: 'make' },
};

describe.skipIf(!tools)('what has arrived and is to be prepared', () => {
  let folder: string;
  let volumes: VolumeStore;
  let store: TransferStore;
  let context: HostContext;
  let used: boolean;
  let calls: number;
  let act: (overlay: string, signal: AbortSignal) => Promise<readonly GuestChange[]>;
  let want: (transfer: DesiredReceive) => Promise<void>;
  let nudged: () => void;

  const writes = async (overlay: string): Promise<void> => {
    await runCommand('qemu-io', ['-f', 'qcow2', '-c', 'write -P 7 0 64k', overlay]);
  };
  const patternIn = async (file: string, pattern: number): Promise<boolean> =>
    !(await runCommand('qemu-io', ['-f', 'qcow2', '-c', `read -P ${pattern} 0 64k`, file])).includes('verification failed');
  const open = async (): Promise<ArrivedPreparer> => {
    store = await TransferStore.open(join(folder, 'transfers'), openQuarantine(folder, silentLog));
    const guestDisks: GuestDisks = {
      lack: async () => undefined,
      inspect: async () => {
        throw new Problem('internal', 'nobody asked for that');
      },
      prepare: async ([disk], _wanted, signal) => {
        calls += 1;
        if (disk === undefined || !('files' in disk)) throw new Problem('internal', 'no disk');
        const [overlay = '', base] = disk.files;
        expect(base).toBe(volumes.files('v1').base);
        return await act(overlay, signal);
      },
    };
    const notes = new TransferNotes({ context, store } as unknown as TransferParts);
    return new ArrivedPreparer({ context, notes, volumes, guestDisks, isUsed: () => used });
  };
  const ended = async (preparer: ArrivedPreparer): Promise<ObservedTransfer['prepared']> => {
    const over = new Promise<void>((resolve) => {
      nudged = resolve;
    });
    preparer.pass('t1');
    await over;
    return context.board.get('transfer', 't1')?.prepared;
  };

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'v8p-'));
    used = false;
    calls = 0;
    act = async (overlay) => {
      await writes(overlay);
      return changes;
    };
    const ledger = await openLedger(join(folder, 'ledger.json'), openQuarantine(folder, silentLog));
    let generation = 0;
    want = async (transfer) => {
      generation += 1;
      await ledger.accept('e', { generation, networks: [], volumes: [], instances: [], transfers: [transfer] }, []);
    };
    volumes = await VolumeStore.open(join(folder, 'volumes'), openQuarantine(folder, silentLog));
    context = {
      config: parseConfig({ state: folder }, {}, () => '', 1000),
      log: silentLog,
      ledger,
      board: new Board(),
      nudge: () => nudged(),
    } as unknown as HostContext;
    await want(receive);
    await volumes.begin('v1', 1024 * 1024);
    await volumes.makeBlank('v1');
    await runCommand('qemu-io', ['-f', 'qcow2', '-c', 'write -P 1 0 64k', volumes.files('v1').base]);
    await volumes.update('v1', { stage: 'incoming' });
    await volumes.arrive('v1');
    await open();
    const observed: ObservedTransfer = {
      id: 't1',
      role: 'receive',
      state: 'finished',
      passes: 1,
      bytes: 1,
      resentBytes: 0,
      chunkBytes: 1,
      streams: 1,
    };
    await store.write({ version: 1, id: 't1', observed, volumeKeys: ['v1'] });
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  it('is changed above the copy, once, and another agent knows it', async () => {
    const before = readFileSync(volumes.files('v1').base);
    expect(await ended(await open())).toEqual({ state: 'prepared', changes });
    expect(await patternIn(volumes.files('v1').overlay, 7)).toBe(true);
    expect(readFileSync(volumes.files('v1').base)).toEqual(before);
    (await open()).pass('t1');
    expect(store.get('t1')?.observed.prepared).toEqual({ state: 'prepared', changes });
    expect(calls).toBe(1);
  });

  it('begins anew, from the copy, when the agent ended in the middle', async () => {
    let reached: () => void = () => {};
    const written = new Promise<void>((resolve) => {
      reached = resolve;
    });
    const preparer = await open();
    act = async (overlay, signal) => {
      await writes(overlay);
      reached();
      return await new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(new Problem('cancelled', 'ended'))));
    };
    const over = ended(preparer);
    await written;
    preparer.stop();
    expect((await over)?.state).toBe('changing');
    act = async (overlay) => {
      expect(await patternIn(overlay, 1)).toBe(true);
      return changes;
    };
    expect(await ended(await open())).toEqual({ state: 'prepared', changes });
  });

  it.each([
    ['the guest cannot be prepared', false, 'no Linux was found'],
    ['somebody uses the disk', true, 'in use by a guest'],
  ])('fails for good, with the reason and nothing changed, when %s', async (_title, isUsed, message) => {
    used = isUsed;
    act = async (overlay) => {
      await writes(overlay);
      throw new Problem('unsupported', 'no Linux was found');
    };
    const preparer = await open();
    expect(await ended(preparer)).toMatchObject({ state: 'failed', changes: [], problem: { message: expect.stringContaining(message) } });
    expect(await patternIn(volumes.files('v1').overlay, 1)).toBe(true);
    const before = calls;
    preparer.pass('t1');
    expect(calls).toBe(before);
  });

  it('waits for the whole of it, and is left alone where nothing is to be prepared', async () => {
    const record = store.get('t1');
    if (record === undefined) throw new Error('no record');
    await store.write({ ...record, observed: { ...record.observed, state: 'copying' } });
    const preparer = await open();
    preparer.pass('t1');
    const { prepare: _, ...plain } = receive;
    await want(plain);
    await store.write(record);
    preparer.pass('t1');
    expect(calls).toBe(0);
  });
});
