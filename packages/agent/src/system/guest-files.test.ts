import { linkSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { tendSerialLog } from '../qemu/serial-log.js';
import { connectGuestSocket, openGuestFile } from './guest-files.js';
import { runCommand } from './run-command.js';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'v8f-'));
  writeFileSync(join(folder, 'secret'), 'x'.repeat(100));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

it('follows no link that a guest put in place of its log, neither to read nor to cut', async () => {
  symlinkSync(join(folder, 'secret'), join(folder, 'serial.log'));
  expect(await openGuestFile(join(folder, 'serial.log'), 'r')).toBeUndefined();
  expect(await tendSerialLog(join(folder, 'serial.log'), 10)).toEqual({ bytes: 0, dropped: 0 });
  rmSync(join(folder, 'serial.log'));
  linkSync(join(folder, 'secret'), join(folder, 'serial.log'));
  expect(await tendSerialLog(join(folder, 'serial.log'), 10)).toEqual({ bytes: 0, dropped: 0 });
  rmSync(join(folder, 'serial.log'));
  // Nor where the part goes that is cut off.
  writeFileSync(join(folder, 'serial.log'), 'y'.repeat(50));
  symlinkSync(join(folder, 'secret'), join(folder, 'serial.log.1'));
  symlinkSync(join(folder, 'secret'), join(folder, 'serial.log.1.new'));
  expect(await tendSerialLog(join(folder, 'serial.log'), 10)).toEqual({ bytes: 0, dropped: 50 });
  expect(readFileSync(join(folder, 'serial.log.1'), 'utf8')).toBe('y'.repeat(50));
  expect(readFileSync(join(folder, 'secret'), 'utf8')).toBe('x'.repeat(100));
});

it('is not held up by a pipe in place of a log', async () => {
  await runCommand('mkfifo', [join(folder, 'serial.log')]);
  expect(await openGuestFile(join(folder, 'serial.log'), 'r')).toBeUndefined();
});

it('talks to a socket of the guest, and to none that a link points at', async () => {
  const server = createServer((socket) => socket.end('hello'));
  await new Promise<void>((resolve) => server.listen(join(folder, 'tty'), resolve));
  symlinkSync(join(folder, 'tty'), join(folder, 'link'));
  const socket = await connectGuestSocket(join(folder, 'tty'), 1000);
  let text = '';
  for await (const octets of socket) text += String(octets);
  expect(text).toBe('hello');
  await expect(connectGuestSocket(join(folder, 'link'), 1000)).rejects.toMatchObject({ code: 'ENOENT' });
  await expect(connectGuestSocket(join(folder, 'secret'), 1000)).rejects.toMatchObject({ code: 'ENOENT' });
  await expect(connectGuestSocket(join(folder, 'nothing'), 1000)).rejects.toMatchObject({ code: 'ENOENT' });
  await new Promise((resolve) => server.close(resolve));
});
