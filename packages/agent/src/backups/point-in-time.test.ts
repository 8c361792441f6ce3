import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { silentLog } from '../log.js';
import { guestAgentChannel } from '../qemu/command-line.js';
import type { Guest } from '../qemu/guest.js';
import { Turns } from '../system/turns.js';
import { takePointInTime, wakeGuest } from './point-in-time.js';

let folder: string;
let server: Server | undefined;
/** In the order in which it happened. */
let happened: string[];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'v8p-'));
  happened = [];
});
afterEach(() => {
  server?.close();
  rmSync(folder, { recursive: true, force: true });
});

type Mood = 'helps' | 'refuses' | 'wakes by itself' | 'is not there' | 'is busy at first' | 'never answers';

async function guestThat(mood: Mood): Promise<Guest> {
  const agent = join(folder, 'agent');
  let frozen = false;
  let connections = 0;
  const answer = (command: string, id: number): object => {
    if (command === 'guest-sync-delimited') return { return: id };
    if (command === 'guest-fsfreeze-status') return { return: frozen && mood !== 'wakes by itself' ? 'frozen' : 'thawed' };
    happened.push(command);
    if (command === 'guest-fsfreeze-freeze' && mood === 'refuses') return { error: { desc: 'it is disabled' } };
    frozen = command === 'guest-fsfreeze-freeze';
    return { return: 2 };
  };
  server = createServer((socket) => {
    connections += 1;
    if (mood === 'never answers' || (mood === 'is busy at first' && connections === 1)) return;
    socket.setEncoding('latin1').on('data', (text) => {
      const { execute, arguments: { id = 0 } = {} } = JSON.parse(String(text).replace('\u00ff', '')) as {
        execute: string;
        arguments?: { id?: number };
      };
      socket.write(`${JSON.stringify(answer(execute, id))}\n`);
    });
  });
  await new Promise<void>((resolve) => server?.listen(agent, resolve));
  const devices = [{ label: guestAgentChannel, 'frontend-open': mood !== 'is not there' }];
  const monitor = { run: async (command: string) => (command === 'query-status' ? { status: 'running' } : devices) };
  return { launchId: 'launch', paths: { agent }, monitor, agentTurns: new Turns() } as unknown as Guest;
}

const take = async (guest: Guest, fault?: Error) =>
  await takePointInTime({
    guest,
    log: silentLog,
    take: async () => {
      happened.push('taken');
      if (fault !== undefined) throw fault;
    },
    note: async (resting) => void happened.push(resting ? 'noted: at rest' : 'noted: awake'),
  });

it('is of file systems at rest only where the guest’s agent says so before and after, and the guest always goes on', async () => {
  expect(await take(await guestThat('helps'))).toBe('file-system');
  expect(happened).toEqual(['noted: at rest', 'guest-fsfreeze-freeze', 'taken', 'guest-fsfreeze-thaw', 'noted: awake']);
});

it.each(['refuses', 'wakes by itself'] as const)('is as after a power failure where the guest’s agent %s', async (mood) => {
  expect(await take(await guestThat(mood))).toBe('crash');
  expect(happened.slice(-3)).toEqual(['taken', 'guest-fsfreeze-thaw', 'noted: awake']);
});

it('asks nobody where nobody is there', async () => {
  expect(await take(await guestThat('is not there'))).toBe('crash');
  expect(happened).toEqual(['taken']);
});

it('wakes the guest when it could not be taken, and one that an agent of ours left at rest', async () => {
  const guest = await guestThat('helps');
  await expect(take(guest, new Error('no room'))).rejects.toThrow('no room');
  expect(happened.slice(-2)).toEqual(['guest-fsfreeze-thaw', 'noted: awake']);
  await wakeGuest(guest);
  expect(happened.at(-1)).toBe('guest-fsfreeze-thaw');
});

it('waits for an agent in the guest that is still busy, and says so of one that stays silent', async () => {
  await wakeGuest(await guestThat('is busy at first'));
  expect(happened).toEqual(['guest-fsfreeze-thaw']);
  server?.close();
  rmSync(join(folder, 'agent'), { force: true });
  await expect(wakeGuest(await guestThat('never answers'), 0)).rejects.toMatchObject({ kind: 'unavailable' });
  server?.close();
  await wakeGuest(await guestThat('is not there'));
});
