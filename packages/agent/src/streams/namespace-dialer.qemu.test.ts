import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { hasCommand, runCommand } from '../system/run-command.js';
import { createNamespaceDialer, type NamespaceDialer } from './namespace-dialer.js';

const ready = process.getuid?.() === 0 && (await hasCommand('nsenter')) && (await hasCommand('ip'));
if (!ready) process.stderr.write('skipped: network namespaces need root, iproute2 and nsenter\n');

const answering = `
const { createServer } = require('node:net');
createServer({ allowHalfOpen: true }, (socket) => {
  socket.write('inside ');
  let text = '';
  socket.on('data', (octets) => { text += octets; });
  socket.on('end', () => socket.end(text.toUpperCase()));
}).listen(7, '127.0.0.1', () => console.log('listening'));
`;

describe.skipIf(!ready)('a connection from within a namespace', () => {
  const namespace = `v8d-${process.pid.toString(36)}`;
  const path = `/run/netns/${namespace}`;
  let server: ChildProcess;
  let dialer: NamespaceDialer;

  beforeEach(async () => {
    await runCommand('ip', ['netns', 'add', namespace]);
    await runCommand('ip', ['-n', namespace, 'link', 'set', 'dev', 'lo', 'up']);
    server = spawn('ip', ['netns', 'exec', namespace, process.execPath, '-e', answering], { stdio: ['ignore', 'pipe', 'inherit'] });
    if (server.stdout !== null) await once(server.stdout, 'data');
    dialer = createNamespaceDialer();
  });
  afterEach(async () => {
    dialer.close();
    server.kill('SIGKILL');
    await runCommand('ip', ['netns', 'delete', namespace]);
  });

  it('reaches what only the namespace knows, many at a time, with nothing lost and each end by itself', async () => {
    const talk = async (word: string): Promise<string> => {
      const socket = await dialer.dial(path, { host: '127.0.0.1', port: 7 }, 20_000);
      let text = '';
      socket.on('data', (octets) => {
        text += octets.toString();
      });
      socket.resume();
      socket.end(word);
      await once(socket, 'close');
      return text;
    };
    expect(await Promise.all(['one', 'two', 'three'].map(talk))).toEqual(['inside ONE', 'inside TWO', 'inside THREE']);
  });

  it('says why there is none, and goes on', async () => {
    await expect(dialer.dial(path, { host: '127.0.0.1', port: 8 }, 20_000)).rejects.toMatchObject({ code: 'ECONNREFUSED' });
    await expect(dialer.dial('/run/netns/v8-none', { host: '127.0.0.1', port: 7 }, 20_000)).rejects.toThrow();
    const socket = await dialer.dial(path, { host: '127.0.0.1', port: 7 }, 20_000);
    socket.destroy();
  });
});
