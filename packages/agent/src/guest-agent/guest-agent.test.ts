import { mkdtempSync, renameSync, rmSync, symlinkSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { guestAgentChannel } from '../qemu/command-line.js';
import type { Guest } from '../qemu/guest.js';
import { Turns } from '../system/turns.js';
import { openGuestAgent } from './guest-agent.js';

let folder: string;
let server: Server | undefined;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'v8g-'));
});
afterEach(() => {
  server?.close();
  rmSync(folder, { recursive: true, force: true });
});

/** A guest whose agent answers a line for each line; `before` lies unread in its channel. */
async function guestWith(answer: (command: string, id: number) => object | undefined, before = ''): Promise<Guest> {
  const agent = join(folder, 'agent');
  server = createServer((socket) => {
    socket.write(before, 'latin1');
    socket.setEncoding('latin1').on('data', (text) => {
      for (const line of String(text)
        .split('\n')
        .filter((each) => each !== '')) {
        const { execute, arguments: { id = 0 } = {} } = JSON.parse(line.replace('\u00ff', '')) as {
          execute: string;
          arguments?: { id?: number };
        };
        const said = answer(execute, id);
        if (said !== undefined) socket.write(`\u00ff${JSON.stringify(said)}\n`, 'latin1');
      }
    });
  });
  await new Promise<void>((resolve) => server?.listen(agent, resolve));
  const monitor = { run: async () => [{ label: guestAgentChannel, 'frontend-open': true }] };
  return { paths: { agent }, monitor, agentTurns: new Turns() } as unknown as Guest;
}

describe('the agent inside a guest', () => {
  it('is asked to rest and to go on, past what an earlier connection left behind', async () => {
    let frozen = false;
    const guest = await guestWith((command, id) => {
      if (command === 'guest-sync-delimited') return { return: id };
      if (command === 'guest-fsfreeze-status') return { return: frozen ? 'frozen' : 'thawed' };
      frozen = command === 'guest-fsfreeze-freeze';
      return { return: 2 };
    }, '{"return": 17}\nhalf a li');
    const agent = await openGuestAgent(guest);
    expect(await agent?.freeze()).toBe(2);
    expect(await agent?.isFrozen()).toBe(true);
    await agent?.thaw();
    expect(await agent?.isFrozen()).toBe(false);
    agent?.close();
  });

  it('is not spoken to by a link in the place of its channel', async () => {
    const asked: string[] = [];
    const guest = await guestWith((command, id) => {
      asked.push(command);
      return { return: id };
    });
    renameSync(join(folder, 'agent'), join(folder, 'elsewhere'));
    symlinkSync(join(folder, 'elsewhere'), join(folder, 'agent'));
    expect(await openGuestAgent(guest)).toBeUndefined();
    expect(asked).toEqual([]);
  });

  it('says why it cannot', async () => {
    const guest = await guestWith((command, id) =>
      command === 'guest-sync-delimited' ? { return: id } : { error: { class: 'GenericError', desc: 'it is disabled' } },
    );
    const agent = await openGuestAgent(guest);
    await expect(agent?.freeze()).rejects.toMatchObject({ kind: 'internal', message: expect.stringContaining('it is disabled') });
    agent?.close();
  });

  it('is not there when nobody has opened its channel, or nobody answers', async () => {
    const silent = await guestWith(() => undefined);
    expect(await openGuestAgent(silent)).toBeUndefined();
    const closed = { ...silent, monitor: { run: async () => [{ label: guestAgentChannel, 'frontend-open': false }] } } as unknown as Guest;
    expect(await openGuestAgent(closed)).toBeUndefined();
  });
});
