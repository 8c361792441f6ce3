import { readFile } from 'node:fs/promises';
import { type Finding, found, toProblem } from '@virt8ra/contract';
import type { AgentConfig } from '../config.js';
import { listLogicalVolumes, poolAmong, roomOfPool } from '../disk/logical-volumes.js';
import { poolText } from '../disk/pool-room.js';
import { hasCommand, runCommand } from '../system/run-command.js';

const tools = [
  ['lvs', 'lvm2', 'there are no logical volumes'],
  ['thin_check', 'thin-provisioning-tools', 'a thin pool is not activated'],
] as const;
const crowdedPercent = 80;

/** Whether volumes can be made in the thin pool that this agent is to use; nothing where they are files. */
export async function checkStorage({ storage }: Pick<AgentConfig, 'storage'>): Promise<readonly Finding[]> {
  if (storage.type === 'directory') return [];
  const findings: Finding[] = [];
  for (const [program, debianPackage, without] of tools) {
    if (!(await hasCommand(program)))
      findings.push(found(`storage/${program}`, 'fail', `${program} is not installed: ${without}`, `apt install ${debianPackage}`));
  }
  findings.push(await checkKernel());
  if (findings.some(({ level }) => level === 'fail')) return findings;
  const name = poolText(storage);
  try {
    const pool = poolAmong(await listLogicalVolumes(storage.group), storage);
    const { freeBytes, totalBytes } = roomOfPool(pool);
    const { dataPercent = 0, metadataPercent = 0, whenFull, monitored } = pool;
    const full = Math.max(dataPercent, metadataPercent);
    const text = `${name}: ${gib(freeBytes)} of ${gib(totalBytes)} are free; ${dataPercent} % of data and ${metadataPercent} % of metadata are used`;
    findings.push(
      found(
        'storage/pool',
        full >= crowdedPercent ? 'warn' : 'pass',
        text,
        `lvextend ${name} (--poolmetadatasize for metadata), or move block storages away`,
      ),
      found(
        'storage/when-full',
        whenFull === 'error' ? 'pass' : 'fail',
        whenFull === 'error' ? 'writes fail at once when the pool is full' : 'writes wait when the pool is full, and guests hang',
        `lvchange --errorwhenfull y ${name}`,
      ),
      found(
        'storage/monitoring',
        monitored ? 'pass' : 'warn',
        monitored ? 'dmeventd looks after the pool' : 'nobody extends the pool when it fills up',
        `install dmeventd, set activation/thin_pool_autoextend_threshold in lvm.conf, and lvchange --monitor y ${name}`,
      ),
    );
  } catch (error) {
    findings.push(
      found(
        'storage/pool',
        'fail',
        toProblem(error).message,
        `lvcreate --type thin-pool --size SIZE --name POOL GROUP, or another --storage`,
      ),
    );
  }
  return findings;
}

/** The module is there, built in, or can be loaded; a look loads nothing. */
async function checkKernel(): Promise<Finding> {
  const mend = 'modprobe dm_thin_pool; the kernel must have CONFIG_DM_THIN_PROVISIONING';
  const modules = await readFile('/proc/modules', 'utf8').catch(() => '');
  const there = /^dm_thin_pool /m.test(modules) || (await runCommand('modinfo', ['dm_thin_pool']).catch(() => undefined)) !== undefined;
  return found('storage/kernel', there ? 'pass' : 'fail', there ? 'the kernel has thin pools' : 'the kernel has no thin pools', mend);
}

function gib(bytes: number): string {
  return `${(bytes / 1024 ** 3).toFixed(2)} GiB`;
}
