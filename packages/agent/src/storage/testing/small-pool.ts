import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type LogicalVolume, logicalVolumeFields, parseLogicalVolumes } from '../../disk/logical-volumes.js';
import { attachLoop, noLoopDevices } from './loop-back-end.js';

/** Why there can be no thin pool here; undefined: there can. */
export function noThinPools(): string | undefined {
  const loops = noLoopDevices();
  if (loops !== undefined) return loops;
  for (const program of ['lvcreate', 'thin_check', 'dmsetup'])
    if (spawnSync(program, ['--version'], { stdio: 'ignore' }).error !== undefined) return `${program} is not installed`;
  if (!existsSync('/dev/mapper/control')) return 'the kernel has no device mapper; tools/kernel-machine.sh runs this under one that has';
  const targets = spawnSync('dmsetup', ['targets'], { encoding: 'utf8' });
  return targets.stdout.includes('thin-pool')
    ? undefined
    : 'the kernel has no thin pools; tools/kernel-machine.sh runs this under one that has';
}

function run(command: string, ...args: readonly string[]): string {
  return execFileSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
}

/** A volume group with a thin pool, on a file in a folder; both go with `destroy`. */
export class SmallPool {
  readonly group: string;
  readonly name: string;
  readonly #device: string;

  private constructor(group: string, device: string) {
    this.group = group;
    this.name = `${group}/pool`;
    this.#device = device;
  }

  static make(folder: string, bytes: number): SmallPool {
    const file = join(folder, 'pool');
    writeFileSync(file, '');
    truncateSync(file, bytes + 64 * 1024 ** 2);
    const device = attachLoop(file);
    const pool = new SmallPool(`v8test${process.pid}`, device);
    run('vgcreate', '--yes', pool.group, device);
    run(
      'lvcreate',
      '--yes',
      '--type',
      'thin-pool',
      '--size',
      `${bytes}b`,
      '--chunksize',
      '64k',
      '--poolmetadatasize',
      '4m',
      '--name',
      'pool',
      pool.group,
    );
    return pool;
  }

  lvm(command: string, ...args: readonly string[]): string {
    return run(command, ...args);
  }

  /** What `lvs` says of one; undefined: there is none. */
  get(name: string): LogicalVolume | undefined {
    return this.all().find((volume) => volume.name === name);
  }

  all(): readonly LogicalVolume[] {
    return parseLogicalVolumes(run('lvs', '--reportformat', 'json', '--units', 'b', '--nosuffix', '-o', logicalVolumeFields, this.group));
  }

  destroy(): void {
    spawnSync('vgremove', ['--yes', '--force', this.group], { stdio: 'ignore' });
    spawnSync('losetup', ['--detach', this.#device], { stdio: 'ignore' });
  }
}
