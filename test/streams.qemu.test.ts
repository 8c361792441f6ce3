import { existsSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { instance } from '@virt8ra/contract';
import { hasPostgres } from '@virt8ra/engine/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { settled } from '../demo/settled.js';
import { describeGuest, guest, images, makeWorkspace } from '../demo/world.js';
import { root } from './server-apart.js';
import { importGuest, type NatWorld, startNatWorld } from './streams/nat-world.js';
import { type PtyCli, startCli } from './streams/pty-cli.js';

const needed = ['/usr/bin/qemu-system-x86_64', '/usr/bin/script', '/usr/bin/ss', '/usr/sbin/nft', join(root, '.cache/guest/guest.json')];
const lacks = [
  ...needed.filter((path) => !existsSync(path)),
  ...((await hasPostgres('debian')) || (await hasPostgres('embedded')) ? [] : ['PostgreSQL']),
  ...(process.getuid?.() === 0 ? [] : ['root']),
];
if (lacks.length > 0) process.stdout.write(`skipped: ${lacks.join(', ')} missing\n`);

/** What users do with an instance on a host that nobody can connect to. */
describe.skipIf(lacks.length > 0)('an instance behind a NAT', () => {
  let world: NatWorld;
  const running: PtyCli[] = [];
  const start = (words: readonly string[], options?: { readonly terminal: boolean }): PtyCli => {
    const cli = startCli(world, words, options);
    running.push(cli);
    return cli;
  };
  const portOf = async (cli: PtyCli): Promise<number> => Number((await cli.until(/127\.0\.0\.1:(\d+)/))[1]);

  beforeAll(async () => {
    world = await startNatWorld();
    await makeWorkspace(world.client, { signal: world.signal });
    await importGuest(world, images.system);
    // The guest's second disk holds nothing that matters here.
    await importGuest(world, images.data);
    await describeGuest(world.client);
  });
  afterAll(async () => {
    for (const { child } of running) child.kill('SIGKILL');
    await world?.destroy();
  });

  it('has a console that is typed at, a port that answers and a screen, and nothing listens on its host', async ({ onTestFailed }) => {
    onTestFailed(() => void process.stdout.write(world.logs()));
    await settled(world.client, instance, guest, ({ status }) => status?.activity?.value === 'running', {
      signal: world.signal,
      withinSeconds: 120,
      what: 'the guest runs',
    });
    // From before the guest is up: its boot is seen, or what was kept of it.
    const console = start(['console', 'web'], { terminal: true });
    await console.until(/guest: ready web boot 1/, 0, 180_000);
    console.type('\recho $((6 * 7)) is the answer\r');
    await console.until(/\r\n42 is the answer/);

    const watcher = start(['console', 'web', '--read-only']);
    await watcher.until(/you watch, admin writes/);
    await console.until(/ joined\]/);
    console.type('echo seen by $((1 + 1))\r');
    await watcher.until(/seen by 2/);

    const forward = start(['port-forward', 'web', '0:80']);
    const page = await fetch(`http://127.0.0.1:${await portOf(forward)}/cgi-bin/info`);
    expect(await page.json()).toMatchObject({ hostname: 'web' });
    const vnc = start(['vnc', 'web']);
    expect(await greeting(await portOf(vnc))).toBe('RFB 003.008\n');

    const refused = start(['port-forward', 'web', '0:81']);
    await greeting(await portOf(refused));
    await refused.until(/port 81 of the guest cannot be reached: nothing listens there/);

    expect(world.onHost('ss', '-Hltn').trim()).toBe('');
    await expect(greeting(22, world.hostAddress)).rejects.toThrow('no answer');

    // The agent dies; guest and console go on, with the next one.
    const before = console.text.length;
    await world.killAgent();
    await console.until(/waiting for it to come back/, before);
    world.startAgent();
    await console.until(/\[console of web/, before);
    console.type('echo $((7 * 7)) after all\r');
    await console.until(/\r\n49 after all/, before);
    console.type('\r~.');
    expect(await console.ended).toBe(0);

    const log = startCli(world, ['console', 'web', '--log']);
    expect(await log.ended).toBe(0);
    for (const said of ['guest: ready web boot 1', '42 is the answer', '49 after all']) expect(log.text).toContain(said);
  });
});

/** What the other side says first; empty when it ends without a word. */
async function greeting(port: number, host = '127.0.0.1'): Promise<string> {
  return await new Promise((resolve, reject) => {
    const socket = connect(port, host);
    const timer = setTimeout(() => {
      socket.destroy();
      reject(new Error('no answer'));
    }, 5_000);
    const give = (text: string): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve(text);
    };
    socket.once('data', (octets) => give(octets.toString()));
    socket.once('close', () => give(''));
    socket.on('error', () => give(''));
  });
}
