import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { connectMonitor, type Monitor } from '../../qemu/monitor.js';

/** A QEMU whose guest has nothing to boot, with disks that the test writes to in the guest's stead. */
export class BareQemu {
  readonly nodes: readonly string[];
  readonly files: readonly string[];
  readonly sizeBytes: number;
  readonly #folder: string;
  readonly #child: ChildProcess;
  #said = '';
  monitor!: Monitor;

  private constructor(folder: string, files: readonly string[], sizeBytes: number) {
    this.#folder = folder;
    this.files = files;
    this.sizeBytes = sizeBytes;
    this.nodes = files.map((_, disk) => `disk${disk}`);
    const socket = (name: string) => [
      ...['-chardev', `socket,id=${name},server=on,wait=off,path=${join(folder, name)}`],
      ...['-mon', `chardev=${name},mode=control`],
    ];
    const disks = files.flatMap((filename, disk) => [
      ...[
        '-blockdev',
        JSON.stringify({ driver: 'qcow2', 'node-name': `disk${disk}`, discard: 'unmap', file: { driver: 'file', filename } }),
      ],
      ...['-device', `virtio-blk-pci,id=vd${disk},drive=disk${disk}`],
    ]);
    const args = ['-nodefaults', '-display', 'none', '-accel', 'tcg', '-m', '64', ...disks, ...socket('own'), ...socket('mover')];
    this.#child = spawn('stdbuf', ['-oL', 'qemu-system-x86_64', ...args], { stdio: ['ignore', 'pipe', 'ignore'] });
    // What qemu-io says goes there and not to the monitor.
    this.#child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      this.#said += text;
    });
  }

  /** Disks of that size whose first half holds data. */
  static async start(folder: string, count: number, sizeBytes: number, content: (disk: number) => Buffer): Promise<BareQemu> {
    const files = Array.from({ length: count }, (_, disk) => join(folder, `source${disk}.qcow2`));
    for (const file of files) execFileSync('qemu-img', ['create', '-q', '-f', 'qcow2', file, String(sizeBytes)]);
    const qemu = new BareQemu(folder, files, sizeBytes);
    for (const end = performance.now() + 20_000; ; ) {
      try {
        qemu.monitor = await connectMonitor(join(folder, 'own'));
        break;
      } catch (error) {
        if (performance.now() > end) throw error;
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    }
    for (const disk of files.keys()) await qemu.write(disk, 0, content(disk));
    return qemu;
  }

  get moverSocket(): string {
    return join(this.#folder, 'mover');
  }

  /** Writes as a guest would: through its device, above whatever a mover put in between. */
  async write(disk: number, offset: number, bytes: Buffer): Promise<void> {
    const file = join(this.#folder, `write${offset}-${bytes.length}`);
    await writeFile(file, bytes);
    const command = `qemu-io -d /machine/peripheral/vd${disk}/virtio-backend "write -s ${file} ${offset} ${bytes.length}"`;
    this.#said = '';
    const answer = await this.monitor.run('human-monitor-command', { 'command-line': command });
    for (const end = performance.now() + 5_000; !this.#said.includes('ops/sec'); ) {
      if (performance.now() > end || this.#said.includes('failed')) throw new Error(`the write failed: ${this.#said}${answer}`);
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    await rm(file);
  }

  async status(): Promise<string> {
    return ((await this.monitor.run('query-status')) as { status: string }).status;
  }

  /** Names of all that movers left: exports, jobs, nodes, bitmaps. */
  async leftovers(): Promise<string[]> {
    const exports = (await this.monitor.run('query-block-exports')) as { id: string }[];
    const jobs = (await this.monitor.run('query-jobs')) as { id: string }[];
    const nodes = (await this.monitor.run('query-named-block-nodes', { flat: true })) as {
      'node-name': string;
      'dirty-bitmaps'?: { name?: string }[];
    }[];
    const bitmaps = nodes.flatMap((node) => node['dirty-bitmaps'] ?? []).map(({ name = '' }) => name);
    return [...exports.map(({ id }) => id), ...jobs.map(({ id }) => id), ...nodes.map((node) => node['node-name']), ...bitmaps]
      .filter((name) => name.startsWith('mv-'))
      .sort();
  }

  async stop(): Promise<void> {
    this.monitor?.close();
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const ended = new Promise((resolve) => this.#child.once('exit', resolve));
    this.#child.kill('SIGKILL');
    await ended;
  }
}
