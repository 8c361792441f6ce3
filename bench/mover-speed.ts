import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { createCipheriv } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { memoryOf } from './program.js';

export interface MoverSpeed {
  readonly bytesMiB: number;
  readonly moverMiBs: number;
  readonly nbdcopyMiBs: number;
  readonly share: number;
  /** The most that sender or receiver ever held. */
  readonly memoryMiB: number;
}

const sizeMiB = 1024;
const rounds = 3;

/**
 * The same disk over TLS on this machine, with the mover and with nbdcopy in turn; the quickest of three rounds each, from the start of the
 * copying process until everything is durable at the other end. Half of the disk is data, half is holes.
 */
export async function measureMover(root: string, folder: string): Promise<MoverSpeed> {
  const main = join(root, 'packages/agent/dist/mover/mover-main.js');
  for (const name of ['qemu-nbd', 'qemu-img', 'nbdcopy', 'openssl', 'setpriv']) {
    if (spawnSync('sh', ['-c', `command -v ${name}`]).status !== 0) throw new Error(`${name} is not installed`);
  }
  if (!existsSync(main)) throw new Error('the mover is not built');
  const place = join(folder, 'mover');
  mkdirSync(place);
  makeCertificates(place);
  const source = makeDisk(place);
  const mover: number[] = [];
  const copy: number[] = [];
  let memoryMiB = 0;
  for (let round = 0; round < rounds; round += 1) {
    const moved = await moveOnce(main, place, source, round);
    memoryMiB = Math.max(memoryMiB, moved.memoryMiB);
    mover.push(moved.seconds);
    copy.push(await copyOnce(place, source, round));
  }
  const bytesMiB = sizeMiB / 2;
  const moverMiBs = Math.round(bytesMiB / Math.min(...mover));
  const nbdcopyMiBs = Math.round(bytesMiB / Math.min(...copy));
  return { bytesMiB, moverMiBs, nbdcopyMiBs, share: Math.round((moverMiBs / nbdcopyMiBs) * 100) / 100, memoryMiB };
}

function run(program: string, words: readonly string[]): void {
  const { status, stderr, error } = spawnSync(program, words, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${program} ${words[0]}: ${error?.message ?? stderr.trim()}`);
}

/** Files as QEMU wants them: ca-cert.pem, server-cert.pem, client-cert.pem and their keys. */
function makeCertificates(place: string): void {
  const at = (name: string) => join(place, name);
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2'];
  run('openssl', ['req', '-x509', ...key, '-subj', '/CN=bench CA', '-keyout', at('ca-key.pem'), '-out', at('ca-cert.pem')]);
  for (const end of ['server', 'client']) {
    const names = ['-subj', `/CN=${end}.bench`, '-addext', `subjectAltName=DNS:${end}.bench,IP:127.0.0.1`];
    const ca = ['-CA', at('ca-cert.pem'), '-CAkey', at('ca-key.pem'), '-addext', 'basicConstraints=critical,CA:FALSE'];
    run('openssl', ['req', '-x509', ...key, ...names, ...ca, '-keyout', at(`${end}-key.pem`), '-out', at(`${end}-cert.pem`)]);
  }
}

function makeDisk(place: string): string {
  const raw = join(place, 'source.raw');
  const cipher = createCipheriv('aes-128-ctr', 'virt8ra-bench-ke', Buffer.alloc(16));
  const data = cipher.update(Buffer.alloc((sizeMiB / 2) * 1024 * 1024));
  writeFileSync(raw, data);
  run('qemu-img', ['resize', '-q', '-f', 'raw', raw, `${sizeMiB}M`]);
  const disk = join(place, 'source.qcow2');
  run('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', raw, disk]);
  return disk;
}

function makeTarget(place: string, name: string): string {
  const disk = join(place, name);
  run('qemu-img', ['create', '-q', '-f', 'qcow2', disk, `${sizeMiB}M`]);
  return disk;
}

interface Notice {
  readonly type: string;
  readonly port?: number;
  readonly message?: string;
}

/** A mover as the agent starts it: its role on standard input, notices on standard output. */
function startMover(main: string, role: object) {
  const child = spawn(
    process.execPath,
    ['--max-old-space-size=48', '--max-semi-space-size=2', '--single-threaded', '--no-incremental-marking', main],
    {
      stdio: ['pipe', 'pipe', 'ignore'],
    },
  );
  const notices: Notice[] = [];
  const wake = new Set<() => void>();
  let ended = false;
  const rouse = () => {
    for (const waiter of wake) waiter();
    wake.clear();
  };
  createInterface({ input: child.stdout }).on('line', (line) => {
    notices.push(JSON.parse(line) as Notice);
    rouse();
  });
  child.once('close', () => {
    ended = true;
    rouse();
  });
  child.stdin.write(`${JSON.stringify(role)}\n`);
  return {
    child,
    async heard(type: string): Promise<Notice> {
      for (;;) {
        const found = notices.find((notice) => notice.type === type);
        const failed = notices.find((notice) => notice.type === 'failed');
        if (found !== undefined) return found;
        if (failed !== undefined) throw new Error(failed.message);
        if (ended) throw new Error('the mover ended');
        await new Promise<void>((resolve) => wake.add(resolve));
      }
    },
    order: (order: string) => child.stdin.write(`${JSON.stringify({ order })}\n`),
  };
}

async function moveOnce(main: string, place: string, source: string, round: number) {
  const credentials = (end: string) => ({
    certificate: readFileSync(join(place, `${end}-cert.pem`), 'utf8'),
    privateKey: readFileSync(join(place, `${end}-key.pem`), 'utf8'),
    ca: readFileSync(join(place, 'ca-cert.pem'), 'utf8'),
  });
  const sizeBytes = sizeMiB * 1024 * 1024;
  const own = (role: string) => ({ directory: join(place, `${role}-${round}`), runtimeDirectory: join(place, `${role}-run-${round}`) });
  const transferId = `bench-${round}`;
  const target = makeTarget(place, `moved-${round}.qcow2`);
  const receiver = startMover(main, {
    type: 'receive',
    config: {
      ...own('receive'),
      transferId,
      credentials: credentials('server'),
      peerName: 'client.bench',
      listen: { address: '127.0.0.1' },
      disks: [{ sizeBytes, file: target }],
    },
  });
  const { port } = await receiver.heard('listening');
  const begin = performance.now();
  const { directory, runtimeDirectory } = own('send');
  const sender = startMover(main, {
    type: 'send',
    config: {
      directory,
      transferId,
      credentials: credentials('client'),
      peer: { name: 'server.bench', address: '127.0.0.1', port },
      minPasses: 0,
      mode: { type: 'cold', runtimeDirectory },
      disks: [{ sizeBytes, node: '', files: [source] }],
    },
  });
  await sender.heard('converged');
  const seconds = (performance.now() - begin) / 1000;
  const held = [sender, receiver].map(({ child }) => memoryOf(child.pid ?? 0)?.mostMiB ?? 0);
  sender.order('finish');
  await Promise.all([sender.heard('finished'), receiver.heard('finished')]);
  await Promise.all([sender, receiver].map(async ({ child }) => await closed(child)));
  return { seconds, memoryMiB: Math.max(...held) };
}

async function copyOnce(place: string, source: string, round: number): Promise<number> {
  const target = makeTarget(place, `copied-${round}.qcow2`);
  const port = await freePort();
  const socket = join(place, `source-${round}.sock`);
  const tls = ['--object', `tls-creds-x509,id=tls,dir=${place},endpoint=server,verify-peer=yes`, '--tls-creds', 'tls'];
  const cache = ['--discard=unmap', '--detect-zeroes=unmap', '--cache=writeback'];
  const servers = [
    spawn('qemu-nbd', ['-f', 'qcow2', '--read-only', '--persistent', '--shared=8', '--socket', socket, source], { stdio: 'ignore' }),
    spawn(
      'qemu-nbd',
      ['-f', 'qcow2', ...cache, '--persistent', '--shared=8', '--bind', '127.0.0.1', '--port', String(port), ...tls, target],
      {
        stdio: 'ignore',
      },
    ),
  ];
  try {
    while (!existsSync(socket) || (await isClosed(port))) await new Promise((resolve) => setTimeout(resolve, 20));
    const uri = `nbds://127.0.0.1:${port}?tls-certificates=${place}`;
    const begin = performance.now();
    run('nbdcopy', ['--flush', `nbd+unix:///?socket=${socket}`, uri]);
    return (performance.now() - begin) / 1000;
  } finally {
    for (const server of servers) {
      server.kill();
      await closed(server);
    }
  }
}

async function closed(child: ChildProcess): Promise<void> {
  if (child.exitCode === null && child.signalCode === null) await new Promise((resolve) => child.once('exit', resolve));
}

async function freePort(): Promise<number> {
  return await new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' && address !== null ? address.port : 0));
    });
  });
}

/** Whether nothing listens yet: taking the port tells without a connection that the server would see. */
async function isClosed(port: number): Promise<boolean> {
  return await new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}
