import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { connectMonitor } from '../../qemu/monitor.js';
import { hasCommand } from '../../system/run-command.js';
import { createTestAuthority, type TestAuthority } from '../../testing/test-authority.js';
import { NbdClient, type NbdOptions } from './client.js';
import { allocationContext, bitmapContext, eachExtent } from './extents.js';

const needed = ['qemu-nbd', 'qemu-img', 'nbdkit', 'qemu-system-x86_64'];
const missing: string[] = [];
for (const command of needed) if (!(await hasCommand(command))) missing.push(command);
if (missing.length > 0) process.stderr.write(`skipped: not installed: ${missing.join(', ')}\n`);

vi.setConfig({ testTimeout: 30_000 });
const mib = 1024 * 1024;
let folder: string;
let children: ChildProcess[];
const path = (name: string) => join(folder, name);

function start(command: string, ...args: string[]): ChildProcess {
  const child = spawn(command, args, { stdio: 'ignore' });
  children.push(child);
  return child;
}

/** Connects as soon as the server listens. */
async function connect(options: NbdOptions): Promise<NbdClient> {
  for (const end = performance.now() + 10_000; ; ) {
    try {
      return await NbdClient.connect(options);
    } catch (error) {
      const waiting = (error as { kind?: string; message: string }).message.includes('no NBD server answers');
      if (!waiting || performance.now() > end) throw error;
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }
}

function raw(bytes: number): Buffer {
  const content = Buffer.alloc(bytes);
  // Half of it is data, so that there is something to find out.
  for (let at = 0; at < bytes / 2; at += 32) createHash('sha256').update(String(at)).digest().copy(content, at);
  writeFileSync(path('raw'), content);
  return content;
}

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'v8n-'));
  children = [];
});
afterEach(async () => {
  for (const child of children) {
    if (child.exitCode !== null || child.signalCode !== null) continue;
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGKILL');
    await ended;
  }
  rmSync(folder, { recursive: true, force: true });
});

describe.skipIf(missing.length > 0)('the NBD client with qemu-nbd', () => {
  const address = () => ({ path: path('s') });

  it('reads what the image holds, many requests in flight', async () => {
    const content = raw(16 * mib + 512);
    execFileSync('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', path('raw'), path('image')]);
    start('qemu-nbd', '-t', '-r', '-f', 'qcow2', '-k', path('s'), path('image'));
    const client = await connect({ address: address() });
    expect(client).toMatchObject({ sizeBytes: content.length, readOnly: true });
    const found = Buffer.alloc(content.length);
    const reads: Promise<void>[] = [];
    for (let at = 0; at < content.length; at += 100_000)
      reads.push(client.read(at, found.subarray(at, Math.min(at + 100_000, content.length))));
    await Promise.all(reads);
    expect(found.equals(content)).toBe(true);
    await expect(client.write(0, Buffer.alloc(512))).rejects.toMatchObject({ kind: 'forbidden' });
    await client.close();
  });

  it('writes, zeroes, trims and flushes, and tells allocation', async () => {
    execFileSync('qemu-img', ['create', '-q', '-f', 'qcow2', path('image'), String(8 * mib)]);
    start('qemu-nbd', '-t', '-f', 'qcow2', '--discard=unmap', '-k', path('s'), path('image'));
    const client = await connect({ address: address(), contexts: [allocationContext] });
    expect(client.contexts).toEqual([allocationContext]);
    const data = randomBytes(2 * mib);
    await client.write(mib, data);
    await client.writeZeroes(mib + mib / 2, mib / 2);
    await client.trim(2 * mib, mib);
    await client.flush();
    const extents: [number, number, boolean][] = [];
    await eachExtent(client, (_, begin, end, flags) => extents.push([begin, end, (flags & 2) !== 0]));
    const zeroBytes = extents.filter(([, , zero]) => zero).reduce((sum, [begin, end]) => sum + end - begin, 0);
    expect(zeroBytes).toBe(7.5 * mib);
    expect(extents.at(-1)?.[1]).toBe(8 * mib);
    const back = Buffer.alloc(mib / 2);
    await client.read(mib, back);
    expect(back.equals(data.subarray(0, mib / 2))).toBe(true);
    await client.close();
  });

  it('keeps out requests beyond the end before they are sent', async () => {
    raw(mib);
    start('qemu-nbd', '-t', '-f', 'raw', '-k', path('s'), path('raw'));
    const client = await connect({ address: address() });
    for (const [offset, length] of [
      [mib, 1],
      [-1, 1],
      [0, 0],
      [0.5, 1],
    ] as const)
      await expect(client.read(offset, Buffer.alloc(length))).rejects.toMatchObject({ kind: 'invalid-request' });
    await client.read(mib - 1, Buffer.alloc(1));
    await client.close();
  });

  it('fails every open request when the server dies, and says not-found and unavailable for what is not there', async () => {
    raw(4 * mib);
    await expect(NbdClient.connect({ address: address() })).rejects.toMatchObject({ kind: 'unavailable' });
    const server = start('qemu-nbd', '-t', '-e', '2', '-f', 'raw', '-x', 'one', '-k', path('s'), path('raw'));
    const client = await connect({ address: address(), exportName: 'one' });
    await expect(NbdClient.connect({ address: address(), exportName: 'two' })).rejects.toMatchObject({ kind: 'not-found' });
    expect(await NbdClient.list({ address: address() })).toEqual([{ name: 'one', sizeBytes: 4 * mib }]);
    server.kill('SIGSTOP');
    const reads = Promise.allSettled([client.read(0, Buffer.alloc(512)), client.read(512, Buffer.alloc(512))]);
    server.kill('SIGKILL');
    for (const result of await reads) expect(result).toMatchObject({ status: 'rejected', reason: { kind: 'unavailable' } });
    expect(client.failure).toMatchObject({ kind: 'unavailable' });
    await expect(client.flush()).rejects.toMatchObject({ kind: 'unavailable' });
  });

  it('is cancelled at any time', async () => {
    raw(mib);
    const server = start('qemu-nbd', '-t', '-f', 'raw', '-k', path('s'), path('raw'));
    const controller = new AbortController();
    const client = await connect({ address: address(), signal: controller.signal });
    server.kill('SIGSTOP');
    const read = client.read(0, Buffer.alloc(512));
    controller.abort();
    await expect(read).rejects.toMatchObject({ kind: 'cancelled' });
    await expect(NbdClient.connect({ address: address(), signal: controller.signal })).rejects.toMatchObject({ kind: 'cancelled' });
  });
});

describe.skipIf(missing.length > 0)('the NBD client over TLS', () => {
  let authority: TestAuthority;
  beforeAll(async () => {
    authority = await createTestAuthority();
  });

  it('shows its certificate, checks the server’s name, and reads', async () => {
    const content = raw(2 * mib);
    const server = await authority.hostKey('server');
    const client = await authority.hostKey('client');
    mkdirSync(path('pki'));
    writeFileSync(path('pki/ca-cert.pem'), authority.certificate);
    writeFileSync(path('pki/server-cert.pem'), server.certificate);
    writeFileSync(path('pki/server-key.pem'), server.privateKey);
    const object = `tls-creds-x509,id=t,endpoint=server,verify-peer=on,dir=${path('pki')}`;
    // On a unix socket qemu-nbd takes no TLS; it is asked for a free port by a server that is gone at once.
    const port = await new Promise<number>((resolve) => {
      const probe = createServer().listen(0, '127.0.0.1', () => {
        const bound = probe.address();
        probe.close(() => resolve(typeof bound === 'object' && bound !== null ? bound.port : 0));
      });
    });
    start('qemu-nbd', '-t', '-r', '-f', 'raw', '-b', '127.0.0.1', '-p', String(port), '--object', object, '--tls-creds', 't', path('raw'));
    const address = { host: '127.0.0.1', port };
    const tls = { certificate: client.certificate, privateKey: client.privateKey, ca: authority.certificate };
    const secure = await connect({ address, tls: { ...tls, serverName: 'server.agents.virt8ra.internal' }, contexts: [allocationContext] });
    const found = Buffer.alloc(content.length);
    await Promise.all([secure.read(0, found.subarray(0, mib)), secure.read(mib, found.subarray(mib))]);
    expect(found.equals(content)).toBe(true);
    await secure.close();
    await expect(NbdClient.connect({ address, tls: { ...tls, serverName: 'other.agents.virt8ra.internal' } })).rejects.toMatchObject({
      kind: 'unauthorized',
    });
    await expect(NbdClient.connect({ address })).rejects.toMatchObject({ kind: 'unauthorized' });
  });
});

describe.skipIf(missing.length > 0)('the NBD client with nbdkit', () => {
  const address = () => ({ path: path('s') });
  const serve = (...args: string[]) => start('nbdkit', '-f', '-U', path('s'), ...args);

  it('reads a pattern of 8-byte offsets', async () => {
    serve('pattern', 'size=4M');
    const client = await connect({ address: address() });
    const found = Buffer.alloc(64);
    await client.read(3 * mib, found);
    for (let at = 0; at < found.length; at += 8) expect(found.readBigUInt64BE(at)).toBe(BigInt(3 * mib + at));
    await client.close();
  });

  it('works without structured replies, where there is no block status', async () => {
    serve('--no-sr', 'memory', '1M');
    const client = await connect({ address: address(), contexts: [allocationContext] });
    expect(client.contexts).toEqual([]);
    const data = randomBytes(4096);
    await client.write(8192, data);
    const back = Buffer.alloc(4096);
    await client.read(8192, back);
    expect(back.equals(data)).toBe(true);
    await expect(client.blockStatus(0, 4096)).rejects.toMatchObject({ kind: 'unsupported' });
    await client.close();
  });

  it.each([
    ['ENOSPC', 'exhausted'],
    ['EIO', 'internal'],
    ['ENOMEM', 'unavailable'],
  ])('makes a Problem of %s and stays usable', async (errno, kind) => {
    serve('--filter=error', 'memory', '1M', `error-pwrite=${errno}`, 'error-pwrite-rate=100%');
    const client = await connect({ address: address() });
    await expect(client.write(0, Buffer.alloc(4096))).rejects.toMatchObject({ kind });
    const back = Buffer.alloc(4096, 1);
    await client.read(0, back);
    expect(back.equals(Buffer.alloc(4096))).toBe(true);
    await client.close();
  });

  it('refuses fast zeros where they would be slow', async () => {
    serve('--filter=fua', '--filter=nozero', 'memory', '1M', 'zeromode=emulate', 'fastzeromode=slow');
    const client = await connect({ address: address() });
    await expect(client.writeZeroes(0, 4096, { fast: true })).rejects.toMatchObject({ kind: 'unsupported' });
    await client.writeZeroes(0, 4096, { noHole: true });
    await client.close();
  });
});

describe.skipIf(missing.length > 0)('the NBD client with QEMU’s own server', () => {
  it('tells what a dirty bitmap holds', async () => {
    execFileSync('qemu-img', ['create', '-q', '-f', 'qcow2', path('image'), '64M']);
    const disk = { driver: 'qcow2', 'node-name': 'disk0', file: { driver: 'file', filename: path('image') } };
    const qmp = ['-chardev', `socket,id=q,server=on,wait=off,path=${path('q')}`, '-mon', 'chardev=q,mode=control'];
    start(
      'qemu-system-x86_64',
      '-S',
      '-nodefaults',
      '-display',
      'none',
      '-accel',
      'tcg',
      '-m',
      '32',
      '-blockdev',
      JSON.stringify(disk),
      ...qmp,
    );
    let monitor: Awaited<ReturnType<typeof connectMonitor>> | undefined;
    for (const end = performance.now() + 10_000; monitor === undefined; ) {
      monitor = await connectMonitor(path('q')).catch((error: unknown) => {
        if (performance.now() > end) throw error;
        return undefined;
      });
      if (monitor === undefined) await new Promise((resolve) => setTimeout(resolve, 20));
    }
    const address = { path: path('s') };
    await monitor.run('nbd-server-start', { addr: { type: 'unix', data: address } });
    await monitor.run('block-dirty-bitmap-add', { node: 'disk0', name: 'b', granularity: 65_536 });
    await monitor.run('block-export-add', { type: 'nbd', id: 'w', 'node-name': 'disk0', name: 'w', writable: true });
    const writer = await connect({ address, exportName: 'w' });
    await writer.write(5 * mib + 100, randomBytes(70_000));
    await writer.close();
    await monitor.run('block-dirty-bitmap-disable', { node: 'disk0', name: 'b' });
    await monitor.run('block-export-add', {
      type: 'nbd',
      id: 'r',
      'node-name': 'disk0',
      name: 'r',
      bitmaps: [{ node: 'disk0', name: 'b' }],
    });
    const reader = await connect({ address, exportName: 'r', contexts: [allocationContext, bitmapContext('b'), bitmapContext('none')] });
    expect(reader.contexts).toEqual([allocationContext, bitmapContext('b')]);
    const dirty: [number, number][] = [];
    let allocated = 0;
    await eachExtent(reader, (context, begin, end, flags) => {
      if (context === bitmapContext('b') && flags === 1) dirty.push([begin, end]);
      if (context === allocationContext && (flags & 2) === 0) allocated += end - begin;
    });
    expect(dirty).toEqual([[5 * mib, 5 * mib + 131_072]]);
    expect(allocated).toBe(131_072);
    await reader.close();
    monitor.close();
  });
});

describe('the NBD client with a server that lies', () => {
  let server: Server;
  let sockets: Socket[];
  const head = Buffer.from('4e42444d4147494349484156454f50540003', 'hex');
  /** Answers option by option as scripted, then each request with the bytes given. */
  const lie = async (answer: (handle: Buffer) => Buffer) => {
    sockets = [];
    server = createServer((socket) => {
      sockets.push(socket);
      socket.on('error', () => {});
      socket.write(head);
      let known = 0;
      socket.on('data', (bytes: Buffer) => {
        // Flags, structured replies, GO, then requests; small enough to come in one piece each.
        const at = known === 0 && bytes.length >= 4 ? 4 : 0;
        for (let rest = bytes.subarray(at); rest.length > 0; ) {
          if (rest.readUInt32BE(0) === 0x49484156) {
            const code = rest.readUInt32BE(8);
            const length = rest.readUInt32BE(12);
            rest = rest.subarray(16 + length);
            const reply = (type: number, body: Buffer) => {
              const bytes = Buffer.alloc(20);
              Buffer.from('0003e889045565a9', 'hex').copy(bytes);
              bytes.writeUInt32BE(code, 8);
              bytes.writeUInt32BE(type, 12);
              bytes.writeUInt32BE(body.length, 16);
              socket.write(Buffer.concat([bytes, body]));
            };
            if (code === 7) {
              const facts = Buffer.alloc(12);
              facts.writeBigUInt64BE(BigInt(mib), 2);
              reply(3, facts);
            }
            reply(1, Buffer.alloc(0));
          } else {
            const handle = rest.subarray(8, 16);
            rest = rest.subarray(28);
            socket.write(answer(handle));
          }
        }
        known += 1;
      });
    });
    await new Promise<void>((resolve) => server.listen(path('lie'), resolve));
    return await NbdClient.connect({ address: { path: path('lie') } });
  };
  afterEach(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const structured = (handle: Buffer, type: number, body: Buffer) => {
    const bytes = Buffer.alloc(20);
    bytes.writeUInt32BE(0x668e33ef, 0);
    bytes.writeUInt16BE(1, 4);
    bytes.writeUInt16BE(type, 6);
    handle.copy(bytes, 8);
    bytes.writeUInt32BE(body.length, 16);
    return Buffer.concat([bytes, body]);
  };
  const at = (offset: number, content: Buffer) => {
    const bytes = Buffer.alloc(8);
    bytes.writeBigUInt64BE(BigInt(offset));
    return Buffer.concat([bytes, content]);
  };

  it.each<[string, (handle: Buffer) => Buffer]>([
    ['a wrong magic number', () => Buffer.alloc(64, 7)],
    ['a reply nobody waits for', () => structured(Buffer.alloc(8, 9), 0, Buffer.alloc(0))],
    ['data before the place asked for', (handle) => structured(handle, 1, at(0, Buffer.alloc(512)))],
    ['data beyond the place asked for', (handle) => structured(handle, 1, at(4096, Buffer.alloc(513)))],
    ['a hole beyond the place asked for', (handle) => structured(handle, 2, at(4096, Buffer.from([0, 0, 4, 0])))],
    ['less data than asked for', (handle) => structured(handle, 1, at(4096, Buffer.alloc(511)))],
    ['no data at all', (handle) => structured(handle, 0, Buffer.alloc(0))],
    ['block status for a read', (handle) => structured(handle, 5, Buffer.alloc(12))],
    ['an unknown type', (handle) => structured(handle, 99, Buffer.alloc(4))],
    ['a reply that never ends', (handle) => structured(handle, 5, Buffer.alloc(0)).fill(0xff, 16, 20)],
  ])('breaks off at %s and touches nothing else', async (_, answer) => {
    const client = await lie(answer);
    const around = Buffer.alloc(2048, 0xaa);
    await expect(client.read(4096, around.subarray(512, 1024))).rejects.toMatchObject({ kind: 'internal' });
    expect(client.failure).toMatchObject({ kind: 'internal' });
    expect(around.subarray(0, 512).every((byte) => byte === 0xaa)).toBe(true);
    expect(around.subarray(1024).every((byte) => byte === 0xaa)).toBe(true);
  });

  it('takes data in any order and in any pieces', async () => {
    const wanted = randomBytes(512);
    const client = await lie((handle) => {
      const first = structured(handle, 1, at(4096 + 256, wanted.subarray(256)));
      first.writeUInt16BE(0, 4);
      return Buffer.concat([first, structured(handle, 1, at(4096, wanted.subarray(0, 256)))]);
    });
    const found = Buffer.alloc(512);
    await client.read(4096, found);
    expect(found.equals(wanted)).toBe(true);
  });
});
