import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmodSync, copyFileSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { openQmp, type Qmp } from './qmp.js';

/** A live move by QEMU alone: two processes of it with the machine of one of our guests, driven by its own protocol, with disks and TLS as ours have. */

interface BlockNode {
  readonly 'node-name': string;
  readonly driver: string;
  readonly filename?: string;
  readonly file?: unknown;
}

interface End {
  readonly process: ChildProcess;
  readonly qmp: Qmp;
}

/** The command line of a guest, with files of its own that stay when the guest is gone. */
export interface KeptMachine {
  readonly words: readonly string[];
  /** Images of its disks, in order. */
  readonly disks: readonly string[];
}

/** `words`: the command line of a guest that runs as it was first started. */
export function keepMachine(words: readonly string[], folder: string): KeptMachine {
  mkdirSync(folder, { recursive: true });
  const disks: string[] = [];
  const kept = words.map((word, at) => {
    if (words[at - 1] !== '-blockdev') return word;
    const node = JSON.parse(word) as BlockNode;
    const to = join(folder, String(at));
    if (node.driver === 'file' && node.filename !== undefined) {
      run('qemu-img', ['convert', '-U', '-f', 'qcow2', '-O', 'qcow2', node.filename, to]);
      disks.push(to);
      return JSON.stringify({ ...node, filename: to });
    }
    const inner = node.file as { readonly filename?: string } | string | undefined;
    if (typeof inner !== 'object' || inner.filename === undefined) return word;
    copyFileSync(inner.filename, to);
    return JSON.stringify({ ...node, file: { ...inner, filename: to } });
  });
  return { words: kept, disks };
}

const migrationCapabilities = ['events', 'pause-before-switchover'].map((capability) => ({ capability, state: true }));

/** Answers for how long neither side ran, by QEMU's own clock, milliseconds. */
export async function moveByQemuAlone(
  { words, disks }: KeptMachine,
  place: string,
  settled: (serial: string) => Promise<void>,
): Promise<number> {
  rmSync(place, { recursive: true, force: true });
  mkdirSync(join(place, 'keys'), { recursive: true });
  writeFileSync(join(place, 'keys', 'keys.psk'), `bench:${randomBytes(32).toString('hex')}\n`);
  chmodSync(place, 0o755);
  const ends: End[] = [];
  try {
    const source = await startEnd(words, join(place, 'source'), disks, 'copy');
    ends.push(source);
    const target = await startEnd([...words, '-incoming', 'defer'], join(place, 'target'), disks, 'blank');
    ends.push(target);
    await source.qmp.run('cont');
    await settled(join(place, 'source', 'serial'));
    return await move(source.qmp, target.qmp, join(place, 'keys'), disks.length);
  } finally {
    for (const { process, qmp } of ends) {
      qmp.close();
      process.kill('SIGKILL');
    }
  }
}

async function move(source: Qmp, target: Qmp, keys: string, disks: number): Promise<number> {
  const credentials = { 'qom-type': 'tls-creds-psk', id: 'tls', dir: keys };
  await target.run('object-add', { ...credentials, endpoint: 'server' });
  await source.run('object-add', { ...credentials, endpoint: 'client', username: 'bench' });
  const [diskPort, memoryPort] = [await freePort(), await freePort()];
  const addr = { type: 'inet', data: { host: '127.0.0.1', port: String(diskPort) } };
  await target.run('nbd-server-start', { addr, 'tls-creds': 'tls' });
  for (let disk = 0; disk < disks; disk += 1) {
    await target.run('block-export-add', { type: 'nbd', id: `e${disk}`, 'node-name': `disk${disk}`, name: `d${disk}`, writable: true });
    const server = { type: 'inet', host: '127.0.0.1', port: String(diskPort) };
    await source.run('blockdev-add', { driver: 'nbd', 'node-name': `peer${disk}`, server, export: `d${disk}`, 'tls-creds': 'tls' });
    await source.run('blockdev-mirror', { 'job-id': `m${disk}`, device: `disk${disk}`, target: `peer${disk}`, sync: 'full' });
  }
  await source.until('query-block-jobs', (jobs: readonly { ready: boolean }[]) => jobs.every(({ ready }) => ready));
  for (const end of [source, target]) {
    await end.run('migrate-set-capabilities', { capabilities: migrationCapabilities });
    await end.run('migrate-set-parameters', { 'tls-creds': 'tls' });
  }
  await source.run('migrate-set-parameters', { 'tls-hostname': '127.0.0.1', 'downtime-limit': 100, 'max-bandwidth': 0 });
  await target.run('migrate-incoming', { uri: `tcp:127.0.0.1:${memoryPort}` });
  // An emulated guest must stand still, as in our own moves.
  if (!((await source.run('query-kvm')) as { enabled: boolean }).enabled) await source.run('stop');
  await source.run('migrate', { uri: `tcp:127.0.0.1:${memoryPort}` });
  const isAt = (wanted: string) => (answer: { status?: string }) => {
    if (answer.status === 'failed') throw new Error('QEMU could not send the memory');
    return answer.status === wanted;
  };
  await source.until('query-migrate', isAt('pre-switchover'));
  for (let disk = 0; disk < disks; disk += 1) await source.run('block-job-cancel', { device: `m${disk}` });
  await source.until('query-block-jobs', (jobs: readonly unknown[]) => jobs.length === 0);
  await source.run('migrate-continue', { state: 'pre-switchover' });
  await source.until('query-migrate', isAt('completed'));
  await target.run('nbd-server-stop');
  await target.until('query-migrate', isAt('completed'));
  await target.run('cont');
  return (await target.event('RESUME')) - (await source.event('STOP'));
}

async function startEnd(words: readonly string[], place: string, disks: readonly string[], content: 'copy' | 'blank'): Promise<End> {
  mkdirSync(place, { recursive: true });
  let index = 0;
  const own = words.map((word, at) => {
    if (words[at - 1] === '-blockdev') {
      const node = JSON.parse(word) as BlockNode;
      if (node.driver !== 'file' || node.filename === undefined) return word;
      const from = disks[index];
      if (from === undefined) throw new Error('the guest has more disks than were given');
      const filename = makeDisk(from, join(place, `disk${index}.qcow2`), content);
      index += 1;
      return JSON.stringify({ ...node, filename });
    }
    if (words[at - 1] === '-pidfile') return join(place, 'pid');
    if (words[at - 1] === '-netdev') return word.replaceAll(/,hostfwd=[^,]*/g, '');
    return word
      .replace(/\bpath=[^,]*\/([a-z]+)(?=,|$)/, (_, name: string) => `path=${join(place, name)}`)
      .replace(/logfile=[^,]*/, `logfile=${join(place, 'serial')}`)
      .replace(/^unix:.*\/vnc$/, `unix:${join(place, 'vnc')}`);
  });
  const [program = '', ...rest] = own;
  const process = spawn(program, rest, { stdio: ['ignore', 'ignore', 'pipe'], cwd: '/' });
  let said = '';
  process.stderr?.setEncoding('utf8').on('data', (text: string) => {
    said += text;
  });
  const ended = new Promise<never>((_, reject) => {
    process.once('exit', () => reject(new Error(`QEMU ended: ${said.trim()}`)));
  });
  ended.catch(() => undefined);
  return { process, qmp: await Promise.race([openQmp(join(place, 'qmp')), ended]) };
}

function makeDisk(from: string, to: string, content: 'copy' | 'blank'): string {
  const info = JSON.parse(run('qemu-img', ['info', '--output=json', from])) as { 'virtual-size': number };
  if (content === 'copy') copyFileSync(from, to);
  else run('qemu-img', ['create', '-q', '-f', 'qcow2', to, String(info['virtual-size'])]);
  return to;
}

function run(program: string, words: readonly string[]): string {
  const { status, stdout, stderr, error } = spawnSync(program, words, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${program} ${words[0]}: ${error?.message ?? stderr.trim()}`);
  return stdout;
}

async function freePort(): Promise<number> {
  return await new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' && address !== null ? address.port : 0));
    });
  });
}
